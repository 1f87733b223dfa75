import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { pathsOf } from '../../../lib/platform/settings.ts'
import { shellInside, startNamespace } from '../../../lib/sandbox/namespace.ts'
import { execute } from '../../../lib/sandbox/sandbox.ts'
import { livingSandbox, type SandboxState, storeOf } from '../../../lib/sandbox/store.ts'
import { root } from '../../../lib/system/checkout.ts'
import { $ } from '../../../lib/system/exec.ts'
import { type Footprint, footprintOf, leftovers } from '../../helpers/leftovers.ts'
import { noSandbox } from '../../helpers/sandbox.ts'

const { cacheDir } = pathsOf()
const store = storeOf(cacheDir, 'bare-tests')
const skip = await noSandbox()

describe('the private copy of the machine', { skip }, () => {
  let namespace: Awaited<ReturnType<typeof startNamespace>>
  const inside = (...command: string[]) => shellInside(namespace.init)({ nothrow: true })`${command}`
  before(async () => {
    namespace = await startNamespace(store, [store.folder, root])
  })
  after(() => namespace.end())

  it('keeps every change off the machine', async () => {
    const touched = ['/etc', '/usr/bin', '/var/lib', '/root', '/opt', '/run', '/srv'].map(
      folder => `${folder}/sandbox-test`,
    )
    const hosts = await readFile('/etc/hosts', 'utf8')
    const changed = await inside(
      'bash',
      '-c',
      'touch "$@" && echo changed >>/etc/hosts && cat /etc/hosts',
      'touch',
      ...touched,
    )
    assert.equal(changed.exitCode, 0, changed.stderr)
    assert.match(changed.stdout, /changed\n$/)
    for (const path of touched) await assert.rejects(stat(path), { code: 'ENOENT' })
    assert.equal(await readFile('/etc/hosts', 'utf8'), hosts)
  })

  it('keeps modes and owners of the folders it covers', async () => {
    const folders = ['/etc', '/usr', '/var', '/root', '/home']
    const format = ['stat', '--format', '%n %a %U:%G', ...folders]
    assert.equal((await inside(...format)).stdout, (await $`${format}`).stdout)
  })

  it('has no network but a loopback of its own', async () => {
    const { stdout } = await inside('ip', '-brief', 'link')
    assert.deepEqual(
      stdout
        .trim()
        .split('\n')
        .map(line => line.split(' ')[0]),
      ['lo'],
    )
    assert.equal((await inside('ip', 'route')).stdout, '')
  })

  it("sees the checkout as it is, and nobody of the machine's processes", async () => {
    const file = await inside('cat', join(root, 'package.json'))
    assert.equal(file.stdout, await readFile(join(root, 'package.json'), 'utf8'))
    const processes = await inside('bash', '-c', 'echo /proc/[0-9]*')
    assert.ok(processes.stdout.split(' ').length < 5, processes.stdout)
  })

  it('refuses a second one on the same store', async () => {
    await assert.rejects(startNamespace(store, [store.folder]), /sandbox bare-tests is up already/)
  })

  it('passes exit codes on, and signals as a shell does', async () => {
    const state = { init: namespace.init, environment: { PATH: process.env.PATH ?? '' } }
    assert.equal(await execute(state, 'exit 7'), 7)
    assert.equal(await execute(state, 'kill -TERM $$'), 143)
  })
})

describe('the end of a sandbox', { skip }, () => {
  it('leaves nothing when it ends in order', async () => {
    const runner = await startRunner()
    runner.child.kill('SIGTERM')
    assert.equal(await runner.exitCode, 0)
    assert.deepEqual(await leftovers(runner.footprint, store.cgroup, store.folder), [])
    assert.equal(await livingSandbox(store), undefined)
  })

  it('leaves nothing of a process that is frozen, as in a container that is paused', async () => {
    const runner = await startRunner()
    const freeze = `set -eu
      parent=/sys/fs/cgroup/freezer/$0 && [ -d "$parent" ] || parent=/sys/fs/cgroup/$0
      mkdir "$parent/frozen"
      sleep 300 </dev/null >/dev/null 2>&1 &
      echo $! >"$parent/frozen/cgroup.procs"
      if [ -e "$parent/frozen/freezer.state" ]; then echo FROZEN >"$parent/frozen/freezer.state"; else echo 1 >"$parent/frozen/cgroup.freeze"; fi`
    await shellInside(runner.state.init)`bash -c ${freeze} ${store.cgroup}`
    runner.child.kill('SIGTERM')
    assert.equal(await runner.exitCode, 0)
    assert.deepEqual(await leftovers(runner.footprint, store.cgroup, store.folder), [])
  })

  it('leaves nothing when its runner is killed', async () => {
    const runner = await startRunner()
    runner.child.kill('SIGKILL')
    await runner.exitCode
    assert.deepEqual(await untilNothing(runner.footprint), [])
  })

  it('leaves nothing that the next start does not remove when its first process is killed', async () => {
    const killed = await startRunner()
    process.kill(killed.state.init.pid, 'SIGKILL')
    killed.child.kill('SIGKILL')
    await killed.exitCode
    const next = await startRunner()
    const { stdout } = await shellInside(next.state.init, next.state)`docker ps --all --quiet`
    assert.equal(stdout.trim().split('\n').length, 3, 'containers of the next start, and none of the one before')
    next.child.kill('SIGTERM')
    await next.exitCode
    assert.deepEqual(await leftovers(killed.footprint, store.cgroup, store.folder), [])
    assert.deepEqual(await leftovers(next.footprint, store.cgroup, store.folder), [])
  })

  it('is ended by a signal to its first process alone, as --end sends it', async () => {
    const runner = await startRunner()
    process.kill(runner.state.init.pid, 'SIGTERM')
    assert.deepEqual(await untilNothing(runner.footprint), [])
    runner.child.kill('SIGKILL')
    await runner.exitCode
  })
})

interface Runner {
  child: ChildProcess
  state: SandboxState
  footprint: Footprint
  exitCode: Promise<number | null>
}

/** A sandbox with an engine and three containers, held by a process that can be killed. */
async function startRunner(): Promise<Runner> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/helpers/sandbox-runner.ts', cacheDir, store.name], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exitCode = new Promise<number | null>(resolve => child.once('exit', resolve))
  const first = new Promise<string>(resolve => createInterface(child.stdout!).once('line', resolve))
  const line = await Promise.race([first, exitCode.then(code => Promise.reject(new Error(`ended with ${code}`)))])
  const state = JSON.parse(line) as SandboxState
  const footprint = await footprintOf(state.init.pid)
  assert.ok(footprint.processes.length >= 8, 'first process, engine, containerd, and two for each container')
  assert.ok(footprint.namespaces.size >= 6, 'its own, and those of three containers')
  return { child, state, footprint, exitCode }
}

/** What is left after the time that an end may take. */
async function untilNothing(footprint: Footprint): Promise<string[]> {
  const deadline = Date.now() + 25_000
  for (;;) {
    const left = await leftovers(footprint, store.cgroup, store.folder)
    if (left.length === 0 || Date.now() > deadline) return left
    await pause(200)
  }
}
