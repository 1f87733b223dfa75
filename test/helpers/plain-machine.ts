import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach } from 'node:test'
import { checkServer, checkThroughResolver, namesToCheck } from '../../lib/dns/verify.ts'
import type { Platform } from '../../lib/platform/platform.ts'
import { root } from '../../lib/system/checkout.ts'
import type { Result } from '../../lib/system/exec.ts'
import { sameState } from '../../lib/system/files.ts'
import { type Listener, listeners } from '../../lib/system/ports.ts'
import { type OwnEtc, ownEtc } from './etc.ts'
import { exampleSettings, goodPlatform } from './platform.ts'
import { ask } from './run.ts'

/** A machine with a plain /etc/resolv.conf and without systemd: this process's own network and /etc. */
export interface PlainMachine {
  platform: Platform
  /** Environment of the tasks; tests may change it. */
  environment: Record<string, string>
  /** The user's files and the state of the platform. */
  folder: string
  stateDir: string
  task(name: string, ...words: string[]): Promise<Result>
  /** Runs a task that has to succeed; gives what it said. */
  succeeds(name: string, ...words: string[]): Promise<string>
  /** Runs setup-dnsmasq, which has to refuse in these words and to change nothing. */
  refused(expected: RegExp): Promise<void>
  /** Makes /etc/resolv.conf a file with this text. */
  given(resolvConf: string): Promise<void>
  /** Takes /etc as it is now for untouched. */
  remember(): Promise<void>
  isUntouched(): Promise<void>
  /** Paths below /etc that are not as they were. */
  changes(): Promise<string[]>
  ourListeners(): Promise<Listener[]>
  /** What is wrong with the names of the platform. */
  problems(): Promise<string[]>
  /** The address that programs get for a name; empty for none. */
  getent(name: string): Promise<string>
}

/** The server that the machine asks before us; it knows www.example.test. */
const upstreamAddress = '127.0.0.99'

/** Prepares the machine for the tests of a suite, fresh for each; its fields are there once the first test runs. */
export function usePlainMachine(): PlainMachine {
  let etc: OwnEtc
  let upstream: ChildProcess
  let untouched: Awaited<ReturnType<OwnEtc['state']>>
  const machine = {
    async task(name, ...words) {
      const command = [process.execPath, join(root, 'lib/cli/launch.mjs'), name, ...words]
      return ask(command, { env: machine.environment, timeoutMs: 60_000 })
    },
    async succeeds(name, ...words) {
      const { exitCode, stdout, stderr } = await machine.task(name, ...words)
      assert.equal(exitCode, 0, `${name}: ${stdout}${stderr}`)
      return stdout + stderr
    },
    async refused(expected) {
      const { exitCode, stderr } = await machine.task('setup-dnsmasq')
      assert.equal(exitCode, 1, stderr)
      assert.match(stderr, expected)
      await machine.isUntouched()
    },
    async given(resolvConf) {
      await rm('/etc/resolv.conf', { force: true })
      await writeFile('/etc/resolv.conf', resolvConf)
      await chmod('/etc/resolv.conf', 0o640)
      await machine.remember()
    },
    async remember() {
      untouched = await etc.state()
    },
    async isUntouched() {
      assert.deepEqual(await etc.state(), untouched)
      assert.deepEqual(await machine.ourListeners(), [])
    },
    async changes() {
      const now = await etc.state()
      const paths = [...new Set([...untouched.keys(), ...now.keys()])]
      const absent = { kind: 'absent' } as const
      return paths.filter(path => !sameState(untouched.get(path) ?? absent, now.get(path) ?? absent))
    },
    async ourListeners() {
      // its other ports are those it sends its own questions from
      return (await listeners()).filter(
        ({ ip, port, process }) => process?.name === 'dnsmasq' && port === 53 && ip !== upstreamAddress,
      )
    },
    async problems() {
      const names = namesToCheck(machine.platform)
      const server = { ip: '127.0.0.1', port: 53 }
      const checks = [...(await checkThroughResolver(names)), ...(await checkServer(server, names))]
      return checks.flatMap(({ problem }) => problem ?? [])
    },
    async getent(name) {
      return (await ask(['getent', 'hosts', name])).stdout.split(/\s+/)[0] ?? ''
    },
  } as PlainMachine

  before(async () => {
    machine.folder = await mkdtemp(join(tmpdir(), 'macula-dns-'))
    machine.stateDir = join(machine.folder, 'state')
    machine.platform = await goodPlatform()
    machine.environment = {
      ...(process.env as Record<string, string>),
      MACULA_ENV_FILE: join(machine.folder, 'env'),
      MACULA_STATE_DIR: machine.stateDir,
      MACULA_LOCAL_COMPOSE: join(machine.folder, 'docker-compose.local.yml'),
    }
    const settings = Object.entries(await exampleSettings()).map(([name, value]) => `${name}=${value}\n`)
    await writeFile(join(machine.folder, 'env'), settings.join(''))
    etc = await ownEtc()
    upstream = startDnsmasq(upstreamAddress, '--host-record=www.example.test,192.0.2.80', '--local=/example.test/')
  })
  after(async () => {
    upstream.kill()
    await etc.remove()
    await rm(machine.folder, { recursive: true })
  })
  beforeEach(async () => {
    await etc.reset()
    await machine.given(`search example.test\noptions timeout:1 rotate\nnameserver ${upstreamAddress}\n`)
  })
  afterEach(async () => {
    await machine.task('teardown', '--yes')
    await rm(machine.stateDir, { recursive: true, force: true })
  })
  return machine
}

/** Somebody else's dnsmasq on port 53 of an address. */
export function startDnsmasq(ip: string, ...words: string[]): ChildProcess {
  const quiet = ['--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--user=root']
  return spawn('dnsmasq', ['--keep-in-foreground', ...quiet, `--listen-address=${ip}`, '--bind-interfaces', ...words])
}
