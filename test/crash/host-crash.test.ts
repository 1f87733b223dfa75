import assert from 'node:assert/strict'
import { after, before, describe, type TestContext, test } from 'node:test'
import {
  breakOff,
  courseOf,
  finish,
  isAs,
  type Lab,
  openLabs,
  type Setup,
  taskCommand,
  tearDownInPieces,
  type Way,
} from '../helpers/break-off.ts'
import type { Machine } from '../helpers/machine.ts'
import { noMachines } from '../helpers/requirements.ts'
import { succeeds } from '../helpers/resolver-tests.ts'
import { snapshotOf } from '../helpers/snapshot.ts'

const renderScript = `
import { ensureInstallation } from './lib/platform/installation.ts'
import { loadPlatform } from './lib/platform/platform.ts'
import { pathsOf } from './lib/platform/settings.ts'
import { renderStackFiles, writeStackFiles } from './lib/stack/files.ts'
const platform = await loadPlatform(pathsOf(), process.env)
await writeStackFiles(platform.paths, await renderStackFiles(platform, await ensureInstallation(platform.paths), {}))`

// what `deploy-ingress --trust` does after its work in a cluster
const trustScript = `
import { openJournal } from './lib/journal/journal.ts'
import { pathsOf } from './lib/platform/settings.ts'
import { detectHost } from './lib/system/machine.ts'
import { asRoot } from './lib/system/privilege.ts'
import { trustCa, trustStoreOf } from './lib/cluster/trust.ts'
import { readFile } from 'node:fs/promises'
const journal = openJournal({ stateDir: pathsOf().stateDir, privilege: asRoot, scope: 'trust' })
await trustCa(await trustStoreOf(await detectHost('auto')), await readFile('/var/tmp/ca.pem', 'utf8'), journal)`

/** Routes to the cluster with a forwarder that runs, as after a first connection. */
async function usedRoutes(machine: Machine): Promise<void> {
  await succeeds(machine, 'setup-kind-routing')
  await machine.sh(`for port in 80 443; do
    timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.2/$port"
    timeout 20 sh -c "until systemctl --quiet is-active macula-route-ingress-$port.service; do sleep 0.05; done"
  done`)
}

const dnsmasq: Setup = { title: 'setup-dnsmasq', command: taskCommand('setup-dnsmasq'), atLeast: 12 }
const kindRouting: Setup = { title: 'setup-kind-routing', command: taskCommand('setup-kind-routing'), atLeast: 11 }
const dataRouting: Setup = {
  title: 'setup-data-routing, with the unit that starts the containers',
  command: taskCommand('setup-data-routing'),
  before: async machine => void (await machine.sh('mkdir -p .macula && cp -a /var/tmp/state/. .macula')),
  atLeast: 18,
}
const setups: Setup[] = [
  dnsmasq,
  {
    title: 'setup-dnsmasq for another domain',
    command: taskCommand('setup-dnsmasq'),
    env: { MACULA_DOMAIN: 'other.test' },
    before: async machine => void (await succeeds(machine, 'setup-dnsmasq')),
    atLeast: 7,
  },
  { title: 'setup-hosts', command: taskCommand('setup-hosts'), atLeast: 1 },
  kindRouting,
  {
    title: 'setup-kind-routing to other targets, while forwarders run',
    command: taskCommand('setup-kind-routing'),
    env: { INGRESS_HTTP_PORT: '8081', INGRESS_HTTPS_PORT: '8444' },
    before: usedRoutes,
    atLeast: 7,
  },
  {
    title: 'setup-kind-routing on another loopback address',
    command: taskCommand('setup-kind-routing'),
    env: { MACULA_LOOPBACK: '127.0.1.1' },
    before: usedRoutes,
    atLeast: 7,
  },
  dataRouting,
  {
    title: 'setup-observability-routing',
    command: taskCommand('setup-observability-routing'),
    atLeast: 33,
  },
  {
    title: 'the trust in the local CA',
    command: ['node', '--import', 'tsx', '--input-type=module', '-e', trustScript],
    atLeast: 3,
  },
  {
    title: 'setup-dnsmasq where NetworkManager is to be told',
    command: taskCommand('setup-dnsmasq'),
    kind: 'networkmanager',
    only: /nmcli|NetworkManager|resolv\.conf/,
    atLeast: 10,
  },
]

describe('a machine whose setup is broken off', { skip: await noMachines(), concurrency: 2 }, () => {
  let labs: Awaited<ReturnType<typeof openLabs>>
  before(async () => {
    labs = await openLabs(['networkmanager', 'workstation', 'workstation'], line => console.error(line))
    const render = `node --import tsx --input-type=module -e "$1" && mv .macula /var/tmp/state
      openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -out /var/tmp/ca.pem -subj /CN=Test -days 30 2>/dev/null`
    for (const _ of [1, 2])
      await labs.use('workstation', async ({ machine }) => void (await machine.sh(render, renderScript)))
  })
  after(() => labs?.end())

  /** Breaks a setup off at some of its moments, and then runs it again or takes it back. */
  async function tryMoments(
    t: TestContext,
    lab: Lab,
    setup: Setup,
    choose: (index: number, what: string) => [Way, 'again' | 'teardown'] | undefined,
  ) {
    const { moments, converged } = await courseOf(lab, setup)
    for (const [index, what] of moments.entries()) {
      const [by, then] = choose(index, what) ?? []
      if (by === undefined || !(setup.only ?? /./).test(what)) continue
      const skip = !lab.isUsable && 'an earlier one left the machine different'
      await t.test(`${index + 1} of ${moments.length}: ${what}, ${by}, then ${then}`, { skip }, async () => {
        lab.isUsable = false
        await breakOff(lab, setup, index + 1, by)
        if (then === 'again') {
          await finish(lab, setup)
          await isAs(converged, lab, 'the same again after it was broken off')
        }
        await succeeds(lab.machine, 'teardown', '--yes')
        await isAs(lab.untouched, lab, 'teardown')
        lab.isUsable = true
      })
    }
  }

  const signals = ['SIGKILL', 'SIGINT'] as const
  for (const setup of setups) {
    for (const turn of [0, 1])
      for (const [offset, then] of (['again', 'teardown'] as const).entries())
        test(`${setup.title}: broken off at every moment, then ${then} (${turn + 1} of 2)`, t =>
          labs.use(setup.kind ?? 'workstation', lab =>
            tryMoments(t, lab, setup, index => [signals[(index + offset + turn) % 2]!, then]),
          ))
  }

  for (const setup of [dnsmasq, kindRouting])
    test(`${setup.title}: SIGKILL in the middle of a change or of a line`, t =>
      labs.use('workstation', async lab => {
        const takesTime = (what: string) => /record (packages|accounts|unit)/.test(what)
        for (const then of ['teardown', 'again'] as const)
          await tryMoments(t, lab, setup, (_, what) => (takesTime(what) ? ['late', then] : undefined))
        await tryMoments(t, lab, setup, (index, what) => {
          if (!what.startsWith('record')) return undefined
          return index % 4 === 0 ? ['torn', 'teardown'] : index % 4 === 2 ? ['torn', 'again'] : undefined
        })
      }))

  for (const setup of setups)
    for (const by of signals)
      test(`${setup.title}: a teardown with ${by} at each of its steps`, () =>
        labs.use(setup.kind ?? 'workstation', async lab => {
          const { moments } = await courseOf(lab, setup)
          lab.isUsable = false
          await setup.before?.(lab.machine)
          await finish(lab, setup)
          const pieces = await tearDownInPieces(lab, by)
          // several writes of a file are one step, and what is interrupted goes on for a moment
          const records = moments.filter(what => what.startsWith('record')).length
          assert.ok(pieces >= (by === 'SIGKILL' ? records / 2 : 1), `${pieces} pieces, ${records} records`)
          await isAs(lab.untouched, lab, 'the teardown that was not broken off')
          lab.isUsable = true
        }))

  test('a journal that cannot be trusted stops every task before its first change', t =>
    labs.use('workstation', async lab => {
      const { machine, untouched } = lab
      lab.isUsable = false
      await succeeds(machine, 'setup-kind-routing')
      await machine.sh('cp -a .macula /var/tmp/good')
      const asSetUp = await snapshotOf(machine)
      for (const [name, damage, message] of [
        ['truncated', 'truncate --size=-20 .macula/journal.jsonl', /The journal is damaged at .*journal\.jsonl/],
        ['newer', `sed -i '1s/"version":1/"version":2/' .macula/journal.jsonl`, /written by a newer version/],
        ['unreadable', 'rm .macula/journal.jsonl; mkdir .macula/journal.jsonl', /journal\.jsonl cannot be read/],
      ] as const) {
        await machine.sh(damage)
        const state = await machine.sh('find .macula -type f -exec sha256sum {} + | sort')
        for (const task of ['setup-dnsmasq', 'setup-hosts', 'setup-data-routing', 'teardown'])
          await t.test(`${name}: ${task}`, async () => {
            const { exitCode, stderr } = await machine.task(task, '--yes')
            assert.notEqual(exitCode, 0, stderr)
            assert.match(stderr, message)
            assert.match(stderr, /^ {2}→ ./m)
            assert.equal((stderr.match(/^✗ .*(journal|Journal)/gm) ?? []).length, 1, stderr)
          })
        await isAs(asSetUp, lab, `tasks with a journal that is ${name}`)
        assert.equal(await machine.sh('find .macula -type f -exec sha256sum {} + | sort'), state)
        await machine.sh('rm -rf .macula; cp -a /var/tmp/good .macula')
      }
      await succeeds(machine, 'teardown', '--yes')
      await isAs(untouched, lab, 'teardown with the good journal')
      lab.isUsable = true
    }))
})
