import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { fillTemplate, writeIfChanged } from '../../../lib/platform/render.ts'

describe('fillTemplate', () => {
  it('fills in every placeholder', () =>
    assert.equal(fillTemplate('a {{x}} {{y}} {{x}}', { x: '1', y: '$&' }), 'a 1 $& 1'))
  it('refuses a placeholder nobody provides', () =>
    assert.throws(
      () => fillTemplate('{{x}}', {}, 'nginx.conf'),
      /nginx\.conf has the placeholder \{\{x\}\}, but there is no value for it/,
    ))
  it('refuses a value nobody uses', () =>
    assert.throws(() => fillTemplate('text', { y: '1' }, 'nginx.conf'), /nginx\.conf has no placeholder for y/))
})

describe('writeIfChanged', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-test-'))
  })
  after(() => rm(folder, { recursive: true }))

  it('creates with the mode that was asked for, then leaves the file alone, then updates it', async () => {
    const path = join(folder, 'deep', 'secret')
    assert.equal(await writeIfChanged(path, 'one', 0o600), 'created')
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    const { mtimeMs, ino } = await stat(path)
    assert.equal(await writeIfChanged(path, 'one', 0o600), 'unchanged')
    assert.deepEqual({ mtimeMs, ino }, { mtimeMs: (await stat(path)).mtimeMs, ino: (await stat(path)).ino })
    assert.equal(await writeIfChanged(path, 'two', 0o600), 'updated')
    assert.equal(await readFile(path, 'utf8'), 'two')
  })

  it('corrects a mode that somebody changed, and leaves no temporary file', async () => {
    const path = join(folder, 'file')
    await writeIfChanged(path, 'text', 0o644)
    assert.equal(await writeIfChanged(path, 'text', 0o600), 'updated')
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    assert.deepEqual(
      (await readdir(folder)).filter(name => name.startsWith('file') || name.startsWith('.')),
      ['file'],
    )
  })
})
