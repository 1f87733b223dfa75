import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  ensureInstallation,
  forgetOwned,
  installationFile,
  isRecorded,
  readInstallation,
  recordOwned,
  restoreInstallation,
} from '../../../lib/platform/installation.ts'

async function inFolder(test: (paths: { stateDir: string }) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'macula-installation-'))
  try {
    await test({ stateDir: join(folder, 'state') })
  } finally {
    await rm(folder, { recursive: true })
  }
}

describe('the installation of a state folder', () => {
  it('is one, and loses nothing, where steps that run at once make it and record in it', () =>
    inFolder(async paths => {
      const ids = Array.from({ length: 8 }, (_, index) => `node-${index}`)
      const made = await Promise.all([
        ...Array.from({ length: 4 }, () => ensureInstallation(paths)),
        ...ids.map(id => recordOwned(paths, 'node', [id])),
      ])
      assert.equal(new Set(made.map(({ id }) => id)).size, 1)
      assert.deepEqual((await readInstallation(paths))?.owned.node, ids)
    }))

  it('has one id, made once, and none before something is created', () =>
    inFolder(async paths => {
      assert.equal(await readInstallation(paths), undefined)
      const made = await ensureInstallation(paths)
      assert.match(made.id, /^[0-9a-f]{12}$/)
      assert.deepEqual(await ensureInstallation(paths), made)
      assert.deepEqual(await readInstallation(paths), made)
    }))

  it('is another one in another folder', () =>
    inFolder(one =>
      inFolder(async two => assert.notEqual((await ensureInstallation(one)).id, (await ensureInstallation(two)).id)),
    ))

  it('remembers what was recorded, each once, and forgets what was removed', () =>
    inFolder(async paths => {
      const { id } = await ensureInstallation(paths)
      await recordOwned(paths, 'node', ['n1', 'n2'])
      await recordOwned(paths, 'node', ['n2', 'n3'])
      const installation = await forgetOwned(paths, 'node', ['n1'])
      assert.deepEqual(installation, { id, owned: { node: ['n2', 'n3'] } })
      assert.deepEqual(await readInstallation(paths), installation)
      assert.equal(isRecorded(installation, 'node', 'n2'), true)
      assert.equal(isRecorded(installation, 'node', 'n1'), false)
      assert.equal(isRecorded(installation, 'volume', 'n2'), false)
      assert.equal(isRecorded(undefined, 'node', 'n2'), false)
    }))

  it('writes nothing where nothing changes', () =>
    inFolder(async paths => {
      await recordOwned(paths, 'volume', ['v'])
      const before = (await stat(installationFile(paths))).ino
      await recordOwned(paths, 'volume', ['v'])
      await forgetOwned(paths, 'volume', ['w'])
      assert.equal((await stat(installationFile(paths))).ino, before)
    }))

  it('takes an id again that was found on its containers, and refuses one of another form', () =>
    inFolder(async paths => {
      await restoreInstallation(paths, '0123456789ab')
      assert.equal((await ensureInstallation(paths)).id, '0123456789ab')
      await assert.rejects(restoreInstallation(paths, 'x; rm -rf /'), /12 hex digits/)
    }))

  it('is never guessed at: a damaged file is an error, and stays as it is', () =>
    inFolder(async paths => {
      await ensureInstallation(paths)
      for (const text of [
        '',
        '{',
        '[]',
        'null',
        '{"id":"short"}',
        '{"id":"0123456789ab","owned":{"node":[1]}}',
        '{"id":"0123456789ab","owned":null}',
      ]) {
        await writeFile(installationFile(paths), text)
        await assert.rejects(readInstallation(paths), /installation\.json is damaged/)
        await assert.rejects(ensureInstallation(paths), /installation\.json is damaged/)
        assert.equal(await readFile(installationFile(paths), 'utf8'), text)
      }
    }))
})
