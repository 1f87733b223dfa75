import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { namesToCheck } from '../../lib/dns/verify.ts'
import type { Finding } from '../../lib/doctor/finding.ts'
import { type Machine, startMachine } from './machine.ts'
import type { MachineKind } from './machine-images.ts'
import { askNames, askOtherNames, otherNamesAsUsual, wrongAnswers } from './names.ts'
import { goodPlatform } from './platform.ts'
import { noMachines } from './requirements.ts'
import { differences, type Snapshot, snapshotOf } from './snapshot.ts'

const titles: Record<MachineKind, string> = {
  plain: 'plain /etc/resolv.conf',
  resolved: 'systemd-resolved',
  workstation: 'systemd-resolved',
  resolvconf: 'resolvconf',
  openresolv: 'resolvconf',
  networkmanager: 'NetworkManager (owner of /etc/resolv.conf)',
  'networkmanager-dnsmasq': "NetworkManager's dnsmasq plugin",
}

/** Declares the tests that hold for every kind of resolver: names answer, others go on as before, and all of it can be taken back. */
export async function resolverTests(kind: MachineKind): Promise<void> {
  const platform = await goodPlatform()
  const { domain } = platform
  const names = [...namesToCheck(platform), { name: `a.b.c.${domain}`, ip: platform.wildcard }]
  const spelled = names.map(({ name }) => name)

  describe(`names on a machine of kind ${kind}`, { skip: await noMachines() }, () => {
    let machine: Machine
    let untouched: Snapshot
    const wrong = async () => wrongAnswers(await askNames(machine, spelled), names)
    // as text: a list of many lines is shown three times when it is not empty
    const isAsBefore = async () => assert.equal(differences(untouched, await snapshotOf(machine)).join('\n'), '')
    const isRight = async () => assert.equal((await wrong()).join('\n'), '')
    const others = () => askOtherNames(machine, domain)

    before(async () => {
      machine = await startMachine(kind, line => console.error(line))
      await succeeds(machine, 'configure', '--yes')
      untouched = await snapshotOf(machine)
    })
    after(() => machine?.end())

    test("are not the platform's before setup-dnsmasq, and a dry run changes nothing", async () => {
      assert.equal((await wrong()).length, names.length)
      await machine.upstreamQueries()
      assert.deepEqual(await others(), otherNamesAsUsual)
      await succeeds(machine, 'setup-dnsmasq', '--dry-run')
      await isAsBefore()
    })

    test('are what doctor knows the way to, on just this kind of machine, and what it would change', async () => {
      const planned = (await machine.task('setup-dnsmasq', '--dry-run')).stdout.trim().split('\n')
      const { findings } = JSON.parse((await machine.task('doctor', '--json')).stdout) as { findings: Finding[] }
      const [way, changes, ...more] = findings.filter(({ check }) => check === 'DNS').map(({ detail }) => detail)
      assert.ok(way?.startsWith(`${titles[kind]}; dnsmasq on 127.0.`), way)
      assert.equal(changes, `to be changed: ${planned.join(', ')}`)
      assert.deepEqual(more, [])
      await isAsBefore()
    })

    test('all answer after setup-dnsmasq, and other names are answered by whom they were', async () => {
      await succeeds(machine, 'setup-dnsmasq')
      await machine.upstreamQueries()
      await isRight()
      assert.deepEqual(await others(), otherNamesAsUsual)
    })

    test('are left alone by a second setup-dnsmasq', async () => {
      const first = await snapshotOf(machine)
      assert.match(await succeeds(machine, 'setup-dnsmasq'), /Nothing to do/)
      assert.equal(differences(first, await snapshotOf(machine)).join('\n'), '')
    })

    test('all answer after a reboot', async () => {
      await machine.reboot()
      await machine.upstreamQueries()
      await isRight()
      assert.deepEqual(await others(), otherNamesAsUsual)
    })

    test('are gone after teardown, with everything that made them', async () => {
      await succeeds(machine, 'teardown', '--dry-run')
      await isRight()
      await succeeds(machine, 'teardown', '--yes')
      await isAsBefore()
      await machine.upstreamQueries()
      assert.deepEqual(await others(), otherNamesAsUsual)
      await machine.reboot()
      await isAsBefore()
    })
  })
}

/** Runs a task that has to succeed; gives what it said. */
export async function succeeds(machine: Machine, name: string, ...words: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await machine.task(name, ...words)
  assert.equal(exitCode, 0, `${name} ${words.join(' ')}\n${stdout}${stderr}`)
  return stdout + stderr
}
