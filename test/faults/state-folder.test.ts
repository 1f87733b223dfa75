import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { writeStackFiles } from '../../lib/stack/files.ts'
import { root } from '../../lib/system/checkout.ts'
import { renderExample } from '../helpers/example.ts'
import { countFaults } from '../helpers/fault-table.ts'

/** What the containers' users can read of the state folder, and what others can put there or in its place. */
describe('the rendered files', { skip: userInfo().uid !== 0 && 'needs root, to look as another user' }, () => {
  const umask = process.umask()
  let folder: string
  let state: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-state-'))
    await chmod(folder, 0o755)
    state = join(folder, '.macula')
  })
  afterEach(async () => {
    process.umask(umask)
    await rm(folder, { recursive: true })
  })
  const write = async () => writeStackFiles({ stateDir: state }, await renderExample())
  /** What `find` with these tests finds, in the eyes of a user with no rights of its own. */
  const seenByOthers = (...tests: string[]) => {
    const words = ['--reuid=65534', '--regid=65534', '--clear-groups', 'find', ...tests]
    return spawnSync('setpriv', words, { encoding: 'utf8', cwd: '/' }).stdout.split('\n').filter(Boolean)
  }
  async function areOpenAndSafe(): Promise<void> {
    const files = (await renderExample()).filter(({ path }) => path.startsWith('config/'))
    const readable = seenByOthers(join(state, 'config'), '-type', 'f', '-readable')
    const writable = spawnSync('find', [folder, '-mindepth', '1', '-perm', '/022', '!', '-type', 'l'], {
      encoding: 'utf8',
    })
    const secrets = seenByOthers(join(state, 'secrets'), '-mindepth', '1')
    countFaults(
      'files of containers closed to them, or ours open to others',
      files.length,
      files.length - readable.length,
    )
    assert.deepEqual(readable.sort(), files.map(({ path }) => join(state, path)).sort())
    assert.equal(writable.stdout, '')
    assert.deepEqual(secrets, [])
  }

  for (const mask of [0o000, 0o027, 0o077])
    it(`are open to the containers' users and closed to writers with umask ${mask.toString(8).padStart(3, '0')}, also after somebody changed modes`, async () => {
      process.umask(mask)
      await write()
      await areOpenAndSafe()
      assert.deepEqual(await write(), [])
      for (const mode of ['u=rwx,go=', 'ugo=rwx']) {
        spawnSync('chmod', ['-R', mode, state])
        assert.notDeepEqual(await write(), [])
        await areOpenAndSafe()
      }
    })

  for (const name of ['.', 'config', 'secrets', 'config/grafana'])
    it(`are not written through a link in the place of ${name === '.' ? 'the state folder' : name}`, async () => {
      await mkdir(join(folder, 'theirs', 'grafana'), { recursive: true })
      await writeFile(join(folder, 'theirs', 'grafana', 'notes'), 'theirs')
      await mkdir(join(state, name, '..'), { recursive: true })
      await rm(join(state, name), { recursive: true, force: true })
      await symlink(join(folder, 'theirs'), name === '.' ? state : join(state, name))
      await assert.rejects(write(), /is a symbolic link/)
      const found = await readdir(join(folder, 'theirs'), { recursive: true })
      countFaults('files outside our manifest deleted', 1, found.includes('grafana/notes') ? 0 : 1)
      assert.deepEqual(found.sort(), ['grafana', 'grafana/notes'])
    })

  it('and the settings go past links that somebody planted for their temporary names', async () => {
    const env = join(folder, '.env')
    await writeFile(join(folder, 'theirs'), 'theirs')
    for (const name of ['.env.new', '.env.macula-new', `..env.macula-${process.pid}-000000`])
      await symlink('theirs', join(folder, name))
    const environment = { ...process.env, MACULA_ENV_FILE: env, MACULA_STATE_DIR: state }
    const words = [join(root, 'lib/cli/launch.mjs'), 'configure', '--yes']
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', env: environment })
    assert.equal(status, 0, stderr)
    assert.equal(await readFile(join(folder, 'theirs'), 'utf8'), 'theirs')
    assert.equal(await readlink(join(folder, '.env.new')), 'theirs')
    assert.deepEqual([(await lstat(env)).isFile(), (await lstat(env)).mode & 0o777], [true, 0o600])
  })
})
