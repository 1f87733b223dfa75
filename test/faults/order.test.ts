import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { messageOf } from '../../lib/system/errors.ts'
import { hasTool } from '../../lib/system/exec.ts'
import { boundSockets } from '../../lib/system/ports.ts'
import { findProcesses } from '../../lib/system/processes.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { inOwnNetwork, runInOwnNetwork, whyNoNetwork } from '../helpers/network.ts'
import { usePlainMachine } from '../helpers/plain-machine.ts'

// Every ordered pair of the nine documented scripts, each pair on a machine where nothing, half or all is set up; then teardown. The machine is a
// network and an /etc of its own with a real dnsmasq and socat. Its engine is a stand-in whose containers are always well, and which cannot make a
// cluster: setup-cluster and build-and-push show how they fail. All 243 pairs take the better part of an hour, so MACULA_PAIRS=K/N runs the Kth of N
// parts, each with both orders of what it tries, and MACULA_PAIRS=1/1 all; the default takes minutes and still has each script first and second.

const title = 'every two documented scripts, in both orders'
if (inOwnNetwork) describe(title, orderTests)
else {
  const missing = await Promise.all(['dnsmasq', 'socat'].map(async tool => ((await hasTool(tool)) ? [] : [tool])))
  const reason = whyNoNetwork() ?? (missing.flat().length > 0 ? `${missing.flat().join()} is not installed` : undefined)
  it(title, { skip: reason ?? false }, () => runInOwnNetwork(import.meta.url, 3_600_000))
}

const scripts = [
  'setup-dnsmasq',
  'start-infrastructure',
  'stop-infrastructure',
  'setup-observability-routing',
  'setup-data-routing',
  'setup-kind-routing',
  'setup-cluster',
  'build-and-push',
  'setup-hosts',
]
const states: Record<string, readonly string[]> = {
  nothing: [],
  half: ['setup-dnsmasq', 'setup-data-routing'],
  all: [
    'setup-dnsmasq',
    'start-infrastructure',
    'setup-observability-routing',
    'setup-data-routing',
    'setup-kind-routing',
  ],
}
/** What cannot succeed without an engine and a registry; it has to say why, and what to do. */
const failing = ['setup-cluster', 'build-and-push']
const [part, parts] = partOf(process.env.MACULA_PAIRS ?? '1/14')

/** The pairs of this run, a state after the other; a pair in both orders, or neither. */
function pairsOf(state: string): [string, string][] {
  const together = scripts.flatMap((first, index) => scripts.slice(index).map(second => [first, second] as const))
  const before = Object.keys(states).indexOf(state) * together.length
  return together
    .filter((_, index) => (before + index) % parts === part - 1)
    .flatMap(([first, second]): [string, string][] =>
      first === second
        ? [[first, second]]
        : [
            [first, second],
            [second, first],
          ],
    )
}

function partOf(text: string): [number, number] {
  const [, part, parts] = (/^(\d+)\/(\d+)$/.exec(text) ?? []).map(Number)
  if (!part || !parts || part > parts)
    throw new Error(`MACULA_PAIRS=${text} should be a part and how many there are, as in 1/4`)
  return [part, parts]
}

/** Somebody else's, with names like ours. */
const foreignEngine = {
  containers: [
    {
      id: 'theirs',
      name: 'macula-web',
      project: 'shop',
      folder: '/srv/shop',
      running: true,
      image: 'web:1',
      labels: {},
    },
  ],
  networks: [{ id: 'theirs', name: 'shop_default', project: 'shop', labels: {}, subnet: '10.9.0.0/16' }],
  volumes: [{ id: 'macula_shop', name: 'macula_shop', project: 'shop', labels: {} }],
}

/** Counts a pair as harmful until it is done. */
function attempt(): () => void {
  const row = 'pairs of scripts that harm, mislead, or leave something after teardown'
  countFaults(row, 1, 1)
  return () => countFaults(row, 0, -1)
}

function orderTests() {
  const machine = usePlainMachine()
  let engineFile: string

  async function prepare(): Promise<ChildProcess> {
    const bin = join(machine.folder, 'bin')
    engineFile = join(machine.folder, 'engine.json')
    await mkdir(bin, { recursive: true })
    const programs = {
      docker: `exec "${process.execPath}" "${join(root, 'test/helpers/fake-docker.mjs')}" "$@"`,
      kind: `echo "$*" >>"${join(machine.folder, 'kind')}"; [ "$1" = version ] && echo 0.33.0 || { [ "$1" = get ] || { echo 'kind cannot do this here' >&2; exit 1; }; }`,
      kubectl: `case "$*" in version*) echo '{"clientVersion":{"gitVersion":"v1.37.0"}}' ;; *) exit 1 ;; esac`,
    }
    for (const [name, script] of Object.entries(programs)) {
      await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`)
      await chmod(join(bin, name), 0o755)
    }
    await writeFile(engineFile, JSON.stringify(foreignEngine))
    Object.assign(machine.environment, {
      PATH: `${bin}:${process.env.PATH}`,
      HOME: machine.folder,
      FAKE_DOCKER: engineFile,
      ROUTING: 'socat',
    })
    return spawn('socat', ['TCP4-LISTEN:8123,bind=127.0.0.1,fork', 'TCP4:127.0.0.1:8124'])
  }

  const processes = () => findProcesses(([name = '']) => /(^|\/)(socat|dnsmasq)$/.test(name))
  const engine = async () => JSON.parse(await readFile(engineFile, 'utf8'))
  /** The machine as others see it. */
  const look = async () => ({
    listening: (await boundSockets()).map(({ protocol, ip, port }) => `${protocol} ${ip}:${port}`).sort(),
    containers: (await engine()).containers.map(({ name, running }: { name: string; running: boolean }) => [
      name,
      running,
    ]),
    changed: (await machine.changes()).sort(),
  })

  /** Runs a script; what it says has to be true and of use whatever came before it. */
  async function run(script: string, context = script): Promise<void> {
    const { exitCode, stdout, stderr } = await machine.task(script, '--yes')
    const said = `${context}: ${script} ended with ${exitCode}\n${stdout}${stderr}`
    assert.ok(exitCode === 0 || exitCode === 1, said)
    assert.doesNotMatch(
      stderr,
      /^\s+at .*:\d+|exit code (-|null|undefined)|unexpected error|ended on a defect|does not know:/m,
      said,
    )
    if (exitCode === 1) assert.match(stderr, /✗ \S[\s\S]*→ \S/, said)
    if (!failing.includes(script)) assert.equal(exitCode, 0, said)
    const created = (await readFile(join(machine.folder, 'kind'), 'utf8').catch(() => '')).includes('create cluster')
    const hasNetwork = (await engine()).networks.some(({ name }: { name: string }) => name === 'macula-infra')
    assert.ok(hasNetwork || !created, `nodes need their network first\n${said}`)
    await rm(join(machine.folder, 'kind'), { force: true })
  }

  async function setUp(state: string): Promise<void> {
    for (const script of states[state] ?? []) await run(script)
  }

  async function isAsBefore(): Promise<void> {
    const { exitCode, stderr } = await machine.task('teardown', '--yes', '--volumes')
    assert.equal(exitCode, 0, stderr)
    assert.deepEqual(await machine.changes(), [])
    assert.deepEqual(await engine(), foreignEngine)
    assert.deepEqual((await processes()).length, 2, 'the name server and the socat of somebody else')
    assert.deepEqual(await readdir(machine.stateDir).catch(() => []), [])
  }

  it('neither harm nor mislead, and can be undone', { timeout: 3_500_000 }, async t => {
    const foreign = await prepare()
    try {
      await machine.remember()
      const problems: string[] = []
      for (const state of Object.keys(states)) {
        const started = performance.now()
        const seen = new Map<string, unknown>()
        const pairs = pairsOf(state)
        for (const [first, second] of pairs) {
          const pair = `${first}, ${second} where ${state} is set up`
          const isDone = attempt()
          try {
            await setUp(state)
            await run(first, pair)
            await run(second, pair)
            const found = await look()
            // what both scripts set up is there whichever came first
            const reverse = seen.get(`${second} ${first}`)
            if (reverse !== undefined && ![first, second].includes('stop-infrastructure'))
              assert.deepEqual(found, reverse, pair)
            seen.set(`${first} ${second}`, found)
            await isAsBefore()
            isDone()
          } catch (error) {
            problems.push(`${pair}: ${messageOf(error)}`)
            await isAsBefore() // the next pair needs the machine as it was
          }
        }
        t.diagnostic(
          `${pairs.length} pairs where ${state} is set up: ${((performance.now() - started) / 1000).toFixed(0)} s`,
        )
      }
      assert.equal(problems.join('\n\n'), '')
    } finally {
      foreign.kill()
      await rm(join(machine.folder, 'bin'), { recursive: true })
    }
  })
}
