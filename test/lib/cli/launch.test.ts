import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { helpText } from '../../../lib/cli/task.ts'
import { readTaskfile, workflowHelp } from '../../../lib/cli/taskfile.ts'
import { root } from '../../../lib/system/checkout.ts'
import { isRoot } from '../../../lib/system/privilege.ts'
import setup from '../../../tasks/setup.ts'
import status from '../../../tasks/status.ts'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../../helpers/stub-docker.ts'

const launcher = join(root, 'lib', 'cli', 'launch.mjs')

/** Lines of a stack trace, or Node's own words for an error that nobody caught. */
const stackTrace = /^\s+at |node:internal|Node\.js v/m

function shell(script: string, env: NodeJS.ProcessEnv = process.env) {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], { cwd: root, env, encoding: 'utf8' })
  assert.doesNotMatch(stderr, stackTrace)
  return { status, stdout, stderr }
}

describe('the launcher', () => {
  let tasks: StubbedTasks
  let folder: string
  before(async () => {
    tasks = await stubbedTasks()
    await tasks.docker(workingDocker)
    folder = await mkdtemp(join(tmpdir(), 'macula-launch-'))
  })
  after(async () => {
    await tasks.remove()
    await rm(folder, { recursive: true, force: true })
  })

  for (const name of ['constructor', '__proto__', 'toString', '../lib/cli/task', '.', 'Setup', ''])
    it(`takes \`${name}\` for no task`, () => {
      const { status, stderr } = shell(`node ${launcher} '${name}'`)
      assert.equal(status, 2)
      assert.match(stderr, /^✗ (There is no task|No task was named)/)
    })

  for (const { task, expected } of [
    { task: 'status', expected: async () => helpText(status) },
    { task: 'setup', expected: async () => helpText(setup) },
    { task: 'platform', expected: async () => workflowHelp(await readTaskfile(), 'platform') },
  ])
    for (const flag of ['--help', '-h'])
      it(`prints the help of ${task} on ${flag}, from the bundle or not`, async () => {
        const { status, stdout } = shell(`node ${launcher} ${task} ${flag}`)
        assert.equal(status, 0)
        assert.equal(stdout, `${await expected()}\n`)
      })

  it('says so where the working directory is gone, and starts nothing', async () => {
    const gone = join(folder, 'gone')
    await mkdir(gone)
    for (const command of [`node ${launcher} doctor`, `${root}/tasks/doctor.ts`]) {
      await mkdir(gone, { recursive: true })
      const { status, stderr } = shell(`cd ${gone} && rmdir ${gone} && ${command}`)
      assert.equal(status, 2)
      assert.match(stderr, /✗ The working directory does not exist any more\n {2}→ cd to a directory/)
    }
  })

  it('ends with 141 when whoever reads its results has closed them, and says so', () => {
    const { status, stderr } = shell(`node ${launcher} doctor --json | true; exit \${PIPESTATUS[0]}`, tasks.environment)
    assert.equal(status, 141)
    assert.match(stderr, /Whoever read the output has closed it|^$/)
    // progress on a closed stderr is nothing to go on without, either
    assert.equal(shell(`node ${launcher} doctor 2>&1 | true; exit \${PIPESTATUS[0]}`, tasks.environment).status, 141)
  })

  const mounts = isRoot() && spawnSync('unshare', ['--mount', 'true']).status === 0
  describe('where the machine says no', { skip: !mounts && 'needs root, to mount file systems' }, () => {
    const inMount = (options: string, prepare: string, task: string) =>
      shell(
        `mkdir -p ${folder}/state && unshare --mount sh -c 'mount -t tmpfs -o ${options} none ${folder}/state && ${prepare} && exec node ${launcher} ${task}'`,
        { ...tasks.environment, MACULA_STATE_DIR: join(folder, 'state', 'macula') },
      )

    it('names a read-only file system, its path and what shows it', () => {
      const { status, stderr } = inMount(
        'mode=700',
        `mount -o remount,ro ${folder}/state`,
        'start-infrastructure --yes',
      )
      assert.equal(status, 1)
      assert.match(stderr, new RegExp(`✗ .*${folder}/state/macula`))
      assert.match(stderr, /EROFS|[Rr]ead-only/)
      assert.match(stderr, /findmnt --target/)
    })

    it('names a full file system, its path and what shows it', () => {
      const fill = `mkdir ${folder}/state/macula && dd if=/dev/zero of=${folder}/state/fill bs=4k 2>/dev/null; true`
      const { status, stderr } = inMount('mode=700,size=64k', `{ ${fill}; }`, 'start-infrastructure --yes')
      assert.equal(status, 1)
      assert.match(stderr, new RegExp(`✗ .*${folder}/state/macula`))
      assert.match(stderr, /ENOSPC|[Nn]o space/)
      assert.match(stderr, /df -h/)
    })

    it('names a file that may not be changed, though we are root', () => {
      const locked = `mkdir -p ${folder}/state/macula && chattr +i ${folder}/state/macula`
      if (spawnSync('sh', ['-c', `f=$(mktemp) && chattr +i $f && chattr -i $f && rm $f`]).status !== 0) return
      const { status, stderr } = inMount('mode=700', locked, 'start-infrastructure --yes')
      assert.equal(status, 1)
      assert.match(stderr, new RegExp(`✗ .*${folder}/state/macula`))
      assert.match(stderr, /lsattr/)
    })
  })
})
