import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, afterEach, before, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'

describe('tasks at the same time', () => {
  let tasks: StubbedTasks
  const children: ChildProcess[] = []
  before(async () => {
    tasks = await stubbedTasks()
    await tasks.docker(workingDocker)
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  after(() => tasks.remove())

  /** Another task that changes the installation, for as long as it lives. */
  async function hold(): Promise<ChildProcess> {
    const script = `
      import { acquireLock } from '${root}/lib/platform/lock.ts'
      await acquireLock('${tasks.stateDir}', { task: 'setup-cluster', waitMs: 0 })
      console.log('held')
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    await once(createInterface({ input: child.stdout! }), 'line')
    return child
  }

  it('end after 10 s with who holds the installation, where they would change it', async () => {
    const holder = await hold()
    const started = performance.now()
    const { status, stderr } = tasks.task('stop-infrastructure')
    const seconds = (performance.now() - started) / 1000
    assert.equal(status, 1)
    const named = `setup-cluster \\(pid ${holder.pid}, since \\d\\d:\\d\\d:\\d\\d\\)`
    assert.match(stderr, new RegExp(`^Waiting for ${named}, which changes this installation$`, 'm'))
    assert.match(stderr, new RegExp(`^✗ Another task changes this installation: ${named}\\n.*--wait`, 'm'))
    // the rest is the start of the task, which takes long on a busy machine
    assert.ok(seconds > 9 && seconds < 30, String(seconds))
  })

  it('go on with --wait when the other one has ended, also by a kill', async () => {
    const holder = await hold()
    setTimeout(() => holder.kill('SIGKILL'), 12_000)
    const child = spawn(process.execPath, ['lib/cli/launch.mjs', 'stop-infrastructure', '--wait'], {
      cwd: root,
      env: tasks.environment,
      stdio: 'ignore',
    })
    const started = performance.now()
    const [status] = await once(child, 'exit')
    assert.equal(status, 0)
    assert.ok(performance.now() - started > 10_000)
  })

  it('do not wait where they only read, or only say what they would do', async () => {
    await hold()
    for (const words of [
      ['status'],
      ['doctor'],
      ['verify'],
      ['logs'],
      ['teardown', '--dry-run'],
      ['setup', '--graph'],
      ['setup-data-routing', '--dry-run'],
      ['stop-infrastructure', '--help'],
    ]) {
      const [name = '', ...options] = words
      const { stderr } = tasks.task(name, ...options)
      assert.doesNotMatch(stderr, /Waiting for|Another task changes/, words.join(' '))
    }
  })

  it('leave no lock behind', async () => {
    tasks.task('stop-infrastructure')
    assert.deepEqual(await readdir(join(tasks.stateDir, 'lock')).catch(() => []), [])
  })
})
