import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { pathsOf } from '../../../lib/platform/settings.ts'
import { livingSandbox, storeOf } from '../../../lib/sandbox/store.ts'
import { root } from '../../../lib/system/checkout.ts'
import { $ } from '../../../lib/system/exec.ts'
import { footprintOf, leftovers } from '../../helpers/leftovers.ts'
import { lockSandboxTests, noSandbox, testStoreName } from '../../helpers/sandbox.ts'

const store = storeOf(pathsOf().cacheDir, testStoreName)
const launcher = ['node', 'lib/cli/launch.mjs', 'sandbox', '--name', store.name]
const task = (...words: string[]) => $({ cwd: root, timeout: 0, nothrow: true })`${launcher} ${words}`

describe('the task sandbox', { skip: await noSandbox() }, () => {
  let release: () => void
  before(async () => {
    release = await lockSandboxTests()
  })
  after(() => release())

  it('passes on output and exit code of --exec, says everything else on stderr, and leaves the machine alone', async () => {
    const machine = async () => [await readFile('/etc/resolv.conf', 'utf8'), await readFile('/etc/passwd', 'utf8')]
    const untouched = await machine()
    const script = 'getent hosts registry.macula.local; cat "$MACULA_ENV_FILE" | wc -l; echo words >&2; exit 7'
    const { exitCode, stdout, stderr } = await task('--no-cluster', '--only', 'infrastructure', '--exec', script)
    assert.equal(exitCode, 7, stderr)
    assert.match(stdout, /^127\.0\.0\.1 +registry\.macula\.local\n\d+\n$/)
    assert.match(stderr, /\nwords\n/)
    assert.equal(await livingSandbox(store), undefined)
    assert.deepEqual(await machine(), untouched)
  })

  it('stays up with --keep, is entered, refuses a second one, and goes with --end', async () => {
    const kept = await task('--no-cluster', '--only', 'infrastructure', '--keep', '--json')
    try {
      assert.equal(kept.exitCode, 0, kept.stderr)
      const document = JSON.parse(kept.stdout)
      assert.equal(document.sandbox.environment.MACULA_SANDBOX, store.name)
      assert.ok(document.services.some((service: { name: string }) => service.name === 'registry'))
      const entered = await task('--enter', '--exec', 'docker ps --format {{.Names}}; exit 3')
      assert.equal(entered.exitCode, 3)
      assert.match(entered.stdout, /^macula-registry$/m)
      const second = await task('--exec', 'true')
      assert.equal(second.exitCode, 1)
      assert.match(second.stderr, /is up already \(kept, since .*--end/s)
    } finally {
      const state = await livingSandbox(store)
      const footprint = state && (await footprintOf(state.init.pid))
      assert.equal((await task('--end')).exitCode, 0)
      assert.deepEqual(footprint && (await leftovers(footprint, store.cgroup, store.folder)), [])
    }
    assert.match((await task('--end')).stderr, /There is no sandbox/)
  })

  it('ends in order on SIGTERM, with exit code 130', async () => {
    const words = ['--no-cluster', '--only', 'infrastructure', '--exec', 'echo running; sleep 300']
    const child = spawn('node', [...launcher.slice(1), ...words], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] })
    const exitCode = new Promise<number | null>(resolve => child.once('exit', resolve))
    await firstOutput(child)
    const state = await livingSandbox(store)
    assert.ok(state)
    const footprint = await footprintOf(state.init.pid)
    child.kill('SIGTERM')
    assert.equal(await exitCode, 130)
    assert.deepEqual(await leftovers(footprint, store.cgroup, store.folder), [])
  })

  it('refuses a name that cannot be a folder, and nothing is made', async () => {
    const { exitCode, stderr } = await $({ cwd: root, nothrow: true })`node lib/cli/launch.mjs sandbox --name ../x`
    assert.equal(exitCode, 2)
    assert.match(stderr, /should be lower case letters, digits and -/)
  })

  it('refuses a group that nobody knows, names those that there are, and nothing is made', async () => {
    const { exitCode, stderr } = await task('--only', 'data,metrics')
    assert.equal(exitCode, 2)
    assert.match(stderr, /^ {2}--only: there is no group metrics; known: infrastructure, observability, data$/m)
    assert.doesNotMatch(stderr, /Start the sandbox/)
  })
})

function firstOutput(child: ChildProcessByStdio<null, Readable, null>): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout.once('data', () => resolve())
    child.once('exit', code => reject(new Error(`the sandbox ended with ${code} before its command ran`)))
  })
}
