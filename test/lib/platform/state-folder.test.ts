import assert from 'node:assert/strict'
import { chmod, chown, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { writeIfChanged } from '../../../lib/platform/render.ts'
import { ensureStateFolder, requireStateFolder } from '../../../lib/platform/state-folder.ts'

describe('the state folder', () => {
  let folder: string
  let state: string
  const umask = process.umask()
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-state-'))
    state = join(folder, '.macula')
  })
  afterEach(async () => {
    process.umask(umask)
    await rm(folder, { recursive: true })
  })
  const modes = async (...names: string[]) =>
    Promise.all(names.map(async name => ((await stat(join(state, name))).mode & 0o7777).toString(8)))
  const names = ['', 'secrets', 'tls', 'config', 'config/grafana', 'config/grafana/provisioning', 'log']
  const wanted = ['755', '700', '700', '755', '755', '755', '755']

  for (const mask of [0o000, 0o027, 0o077])
    it(`has the modes that its containers need, whatever the umask, ${mask.toString(8).padStart(3, '0')} here`, async () => {
      process.umask(mask)
      await ensureStateFolder(state)
      for (const name of ['secrets/x', 'tls/x', 'config/grafana/provisioning/x', 'log/x'])
        await writeIfChanged(join(state, name), '')
      await ensureStateFolder(state)
      assert.deepEqual(await modes(...names), wanted)
      assert.deepEqual(await modes('config/grafana/provisioning/x'), ['644'])
    })

  it('gets them back where an earlier run, or somebody, made it otherwise', async () => {
    await ensureStateFolder(state)
    for (const name of ['secrets/x', 'tls/x', 'config/grafana/provisioning/x', 'log/x'])
      await writeIfChanged(join(state, name), '')
    for (const mode of [0o777, 0o700, 0o750]) {
      for (const name of names) await chmod(join(state, name), mode)
      await ensureStateFolder(state)
      const log = mode === 0o777 ? '755' : mode.toString(8)
      assert.deepEqual(await modes(...names), [...wanted.slice(0, -1), log])
    }
  })

  for (const name of ['.', 'secrets', 'config', 'config/grafana', 'cluster'])
    it(`is refused where ${name === '.' ? 'it' : name} is a link, and nothing is written to what that points to`, async () => {
      await mkdir(join(folder, 'theirs'))
      await chmod(join(folder, 'theirs'), 0o750)
      if (name !== '.') await mkdir(join(state, name, '..'), { recursive: true })
      await symlink(join(folder, 'theirs'), join(state, name).replace(/\/$/, ''))
      for (const action of [ensureStateFolder, requireStateFolder])
        await assert.rejects(action(state), /is a symbolic link/)
      assert.equal((await stat(join(folder, 'theirs'))).mode & 0o7777, 0o750)
    })

  it('is refused where somebody else owns it', { skip: userInfo().uid !== 0 && 'needs root' }, async () => {
    await ensureStateFolder(state)
    await chown(state, 12345, 12345)
    for (const action of [ensureStateFolder, requireStateFolder])
      await assert.rejects(action(state), /belongs to somebody else/)
  })

  it('may be missing, but has to be a folder', async () => {
    await requireStateFolder(state)
    await assert.rejects(stat(state))
    await writeFile(state, 'a file')
    await assert.rejects(ensureStateFolder(state), /is not a folder/)
  })
})
