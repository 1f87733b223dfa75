import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  appendFile,
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { noMounts } from '../helpers/requirements.ts'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'

/** A real task changes a real file as root, in a mount namespace whose /etc/hosts is a file of the test's. */
describe('a journal', { skip: noMounts() }, () => {
  let tasks: StubbedTasks
  const path = (...names: string[]) => join(tasks.folder, ...names)
  const journal = () => join(tasks.stateDir, 'journal.jsonl')
  const hosts = () => readFile(path('hosts'), 'utf8')

  beforeEach(async () => {
    tasks = await stubbedTasks()
    await tasks.docker(workingDocker)
    await writeFile(path('hosts'), '127.0.0.1 localhost\n')
  })
  afterEach(async () => {
    spawnSync('chattr', ['-R', '-i', tasks.folder])
    await tasks.remove()
  })

  /** Runs a task after `prepare`, which may mount what it likes. */
  function run(command: readonly string[], prepare = '') {
    const script = `set -e; mount --bind "$1" /etc/hosts; state=$2; shift 2; ${prepare}
      exec "$@"`
    const node = [process.execPath, join(root, 'lib/cli/launch.mjs'), ...command]
    const words = [
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      script,
      'sh',
      path('hosts'),
      tasks.stateDir,
      ...node,
    ]
    const env = { ...tasks.environment, npm_lifecycle_event: undefined }
    return spawnSync('unshare', words, { encoding: 'utf8', env, cwd: root })
  }

  /** Every path of the state folder with its bytes; the folder of the lock comes and goes with each task. */
  async function stateFolder(): Promise<string> {
    const all = await readdir(tasks.stateDir, { recursive: true }).catch(() => [])
    const names = all.filter(name => name !== 'lock')
    const lines = names.sort().map(async name => {
      const stats = await lstat(join(tasks.stateDir, name))
      const hash = stats.isFile()
        ? createHash('sha256')
            .update(await readFile(join(tasks.stateDir, name)))
            .digest('hex')
        : ''
      return `${name} ${stats.mode.toString(8)} ${hash}`
    })
    return (await Promise.all(lines)).join('\n')
  }

  async function setUp(): Promise<void> {
    const { status, stderr } = run(['setup-hosts'])
    assert.equal(status, 0, stderr)
    assert.match(await hosts(), /BEGIN Macula/)
    await mkdir(join(tasks.stateDir, 'lock'), { recursive: true })
  }

  /** One message that says what to do, the documented exit code, and nothing changed. */
  async function isRefused(command: readonly string[], message: RegExp, prepare = ''): Promise<void> {
    const [hostsBefore, stateBefore] = [await hosts(), await stateFolder()]
    const { status, stderr } = run(command, prepare)
    const isChanged = (await hosts()) !== hostsBefore || (await stateFolder()) !== stateBefore
    countFaults('changes half done when the journal cannot be written or believed', 1, isChanged ? 1 : 0)
    countFaults(
      'stack traces and wrong exit codes for these',
      1,
      status !== 1 || /\n\s+at .*:\d+:\d+/.test(stderr) ? 1 : 0,
    )
    assert.equal(status, 1, stderr)
    assert.equal(isChanged, false, stderr)
    assert.match(stderr, message)
    assert.doesNotMatch(stderr, /\n\s+at .*:\d+:\d+|defect/)
    assert.equal(stderr.match(/^✗ .*(journal|symbolic link|\/lock)/gm)?.length, 1, stderr)
    assert.match(stderr, /^ {2}→ ./m)
  }

  /** The same for a setup that has something to change, a teardown, and a teardown that only tells. */
  async function areRefused(message: RegExp): Promise<void> {
    await isRefused(['teardown', '--yes'], message)
    await isRefused(['teardown', '--dry-run'], message)
    await writeFile(path('hosts'), '127.0.0.1 localhost\n')
    await isRefused(['setup-hosts'], message)
  }

  async function teardownWorks(): Promise<void> {
    const { status, stderr } = run(['teardown', '--yes'])
    assert.equal(status, 0, stderr)
    assert.equal(await hosts(), '127.0.0.1 localhost\n')
    assert.equal(await lstat(tasks.stateDir).catch(() => undefined), undefined)
  }

  // as the kernel does it: the last page of the file has room for a few bytes more
  const fillUp = `cp -a "$state" "$state.copy"; mount -t tmpfs -o size=256k tmpfs "$state"; cp -a "$state.copy/." "$state"
    rm -r "$state.copy"; cat /dev/zero >"$state/filler" 2>/dev/null || true;`
  const readOnly = 'mount --bind "$state" "$state"; mount -o remount,ro,bind "$state";'
  const immutable = 'chattr +i "$state"/journal.*;'
  // the lock of the tasks, which is taken first, has a disk of its own here
  const lockElsewhere = 'mount -t tmpfs -o mode=755 tmpfs "$state/lock";'
  for (const [name, prepare, message] of [
    ['full', fillUp, /lock\S* cannot be written\n.*ENOSPC[\s\S]*df -h/],
    ['read-only', readOnly, /lock\S* cannot be created\n.*EROFS[\s\S]*findmnt/],
  ] as const)
    it(`in a state folder on a ${name} file system: the lock cannot be taken there, so nothing is begun`, async () => {
      await setUp()
      await rm(join(tasks.stateDir, 'lock'), { recursive: true, force: true })
      await isRefused(['teardown', '--yes'], message, prepare)
      await writeFile(path('hosts'), '127.0.0.1 localhost\n')
      await isRefused(['setup-hosts'], message, prepare)
    })

  const conditions: [string, string, RegExp][] = [
    [
      'on a full file system',
      `${fillUp}${lockElsewhere}`,
      /cannot be written, so nothing was changed\n.*ENOSPC[\s\S]*df -h/,
    ],
    [
      'on a read-only file system',
      `${readOnly}${lockElsewhere}`,
      /cannot be written, so nothing was changed\n.*EROFS[\s\S]*findmnt/,
    ],
    ['that is immutable', immutable, /cannot be written, so nothing was changed\n.*EPERM[\s\S]*lsattr/],
  ]
  for (const [name, prepare, message] of conditions) {
    it(`${name} stops a setup and a teardown before their first change, and both work when it can be written again`, async t => {
      await setUp()
      if (prepare === immutable && spawnSync('chattr', ['+i', journal()]).status !== 0)
        return t.skip('this file system has no immutable files')
      // a line that is cut off by the full disk has a few bytes
      const { size } = await lstat(journal())
      const header = `${JSON.stringify({ journal: 'macula', version: 1 })}`
      if (prepare.startsWith(fillUp)) await appendFile(journal(), `${header.padEnd(2 * 4096 - (size % 4096) - 10)}\n`)
      await isRefused(['teardown', '--yes'], message, prepare)
      spawnSync('chattr', ['-i', journal(), join(tasks.stateDir, 'journal.begun')])
      await writeFile(path('hosts'), '127.0.0.1 localhost\n')
      await isRefused(['setup-hosts'], message, prepare)
      spawnSync('chattr', ['-i', journal(), join(tasks.stateDir, 'journal.begun')])
      assert.equal(run(['setup-hosts']).status, 0)
      await teardownWorks()
    })

    it(`${name} can still be read: teardown lists what it would do`, async () => {
      await setUp()
      const { status, stdout, stderr } = run(['teardown', '--dry-run'], prepare)
      assert.equal(status, 0, stderr)
      assert.match(stdout, /^\/etc\/hosts: to be restored$/m)
    })
  }

  it('that a full disk cut off in the middle of a line is read, and continued when there is room', async () => {
    await setUp()
    const before = await stateFolder()
    for (const file of ['journal.jsonl', 'journal.begun']) await appendFile(join(tasks.stateDir, file), '{"id":"1b9d')
    const torn = await stateFolder()
    assert.notEqual(torn, before)
    const { status, stdout } = run(['teardown', '--dry-run'])
    assert.equal(status, 0)
    assert.match(stdout, /^\/etc\/hosts: to be restored$/m)
    assert.equal(await stateFolder(), torn, 'a dry run writes nothing')
    await writeFile(path('hosts'), '127.0.0.1 localhost\n')
    assert.equal(run(['setup-hosts']).status, 0)
    await teardownWorks()
  })

  const record = (kind: string, fields: object) =>
    `${JSON.stringify({ id: '11111111-2222-4333-8444-555555555555', scope: 'test', at: '', kind, ...fields })}\n`
  const file = { kind: 'file', content: '', mode: 0o644, uid: 0, gid: 0 }
  for (const [name, line] of [
    [
      'a folder of account files that is somebody else’s',
      () => record('accounts', { folder: path('theirs'), packages: [] }),
    ],
    ['a relative path', () => record('path', { path: 'theirs/notes', before: { kind: 'absent' }, after: file })],
    [
      'a path with ..',
      () => record('path', { path: `${path('x')}/../theirs/notes`, before: { kind: 'absent' }, after: file }),
    ],
    ['a folder that is none', () => record('directory', { path: 'theirs' })],
    ['a mode that is none', () => record('path', { path: path('x'), before: { ...file, mode: 99999 }, after: file })],
    ['an option instead of a package', () => record('packages', { manager: 'apt', names: ['-oDir=/'] })],
    ['a package manager that is none', () => record('packages', { manager: 'sh', names: ['x'] })],
    ['an option instead of a unit', () => record('unit', { unit: '--root=/', enabled: false, active: false })],
    ['a process that is every process', () => record('started', { name: 'x', identity: { pid: -1, startTime: '' } })],
    ['no command', () => record('after-undo', { command: [] })],
    ['no known kind', () => record('everything', {})],
    ['no JSON', () => 'rm -rf /\n'],
    ['no record at all', () => '[]\n'],
  ] as const)
    it(`with a record of ${name} is damaged, and nothing is done on its word`, async () => {
      await setUp()
      await mkdir(path('theirs'))
      await writeFile(path('theirs', 'notes'), 'theirs')
      await appendFile(journal(), line())
      await areRefused(/The journal is damaged at .*journal\.jsonl:\d+\n/)
      const isThere = (await readFile(path('theirs', 'notes'), 'utf8')) === 'theirs'
      countFaults('files outside our manifest deleted', 3, isThere ? 0 : 1)
      assert.ok(isThere)
    })

  for (const [name, damage, message] of [
    ['belongs to somebody else', () => chown(journal(), 12345, 12345), /belongs to somebody else[\s\S]*→ ls -ld/],
    ['can be written by others', () => chmod(journal(), 0o666), /can be written by others[\s\S]*→ .*chmod go-w/],
    [
      'is a link',
      async () => {
        await rename(journal(), path('elsewhere'))
        await symlink(path('elsewhere'), journal())
      },
      /is a symbolic link/,
    ],
    [
      'is a folder',
      async () => {
        await rm(journal())
        await mkdir(journal())
      },
      /cannot be read/,
    ],
    [
      'lost whole lines',
      async () => writeFile(journal(), `${(await readFile(journal(), 'utf8')).split('\n')[0]}\n`),
      /is damaged/,
    ],
    [
      'was written by a newer version',
      async () => writeFile(journal(), (await readFile(journal(), 'utf8')).replace('"version":1', '"version":2')),
      /newer version/,
    ],
  ] as const)
    it(`that ${name} is refused by every command`, async () => {
      await setUp()
      await damage()
      await areRefused(message)
    })

  for (const name of ['', 'secrets', 'config', join('config', 'grafana')])
    it(`in a state folder where .macula${name && `/${name}`} is a link is refused, and what it points to stays as it is`, async () => {
      await setUp()
      await mkdir(path('theirs', 'deep'), { recursive: true })
      await writeFile(path('theirs', 'deep', 'notes'), 'theirs')
      const target = join(tasks.stateDir, name)
      if (name === '') {
        await rename(target, path('moved'))
        await symlink(path('moved'), target)
        await mkdir(path('moved', 'config', 'own'), { recursive: true })
        await writeFile(path('moved', 'config', 'own', 'notes'), 'theirs')
      } else {
        await mkdir(join(target, '..'), { recursive: true })
        await symlink(path('theirs'), target)
      }
      for (const option of ['--yes', '--dry-run']) await isRefused(['teardown', option], /is a symbolic link/)
      const kept = name === '' ? path('moved', 'config', 'own', 'notes') : path('theirs', 'deep', 'notes')
      const isThere = (await readFile(kept, 'utf8').catch(() => '')) === 'theirs'
      countFaults('files outside our manifest deleted', 2, isThere ? 0 : 1)
      assert.ok(isThere)
    })
})
