import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { namesToCheck } from '../../lib/dns/verify.ts'
import { type Machine, startMachine } from './machine.ts'
import type { MachineKind } from './machine-images.ts'
import { askNames, askOtherNames, type OtherNames, otherNamesAsUsual, wrongAnswers } from './names.ts'
import { goodPlatform } from './platform.ts'
import { succeeds } from './resolver-tests.ts'
import { differences, type Snapshot, snapshotOf } from './snapshot.ts'

const platform = await goodPlatform()
const names = namesToCheck(platform)

/** Starts a machine for a group of tests about its resolver, and gives what they share. */
export function useMachine(kind: MachineKind) {
  let machine: Machine
  before(async () => {
    machine = await startMachine(kind, line => console.error(line))
    await succeeds(machine, 'configure', '--yes')
  })
  after(() => machine?.end())
  const isAs = async (state: Snapshot) =>
    assert.equal(differences(state, await snapshotOf(machine)).join('\n'), '', 'the machine differs')
  const others = () => askOtherNames(machine, platform.domain)
  const isRight = async (usual: OtherNames = otherNamesAsUsual) => {
    await machine.upstreamQueries()
    const answers = await askNames(
      machine,
      names.map(({ name }) => name),
    )
    assert.equal(wrongAnswers(answers, names).join('\n'), '')
    assert.deepEqual(await others(), usual)
  }
  return {
    machine: () => machine,
    isAs,
    /** Every name of the platform answers, and other names are answered by whom they were. */
    isRight,
    /** Runs setup-dnsmasq, looks at all names, and takes it back to the very same machine. */
    async worksAndComesOff(meanwhile: () => Promise<void> = async () => {}) {
      const state = await snapshotOf(machine)
      await machine.upstreamQueries()
      const usual = await others()
      await succeeds(machine, 'setup-dnsmasq')
      await isRight(usual)
      await meanwhile()
      await succeeds(machine, 'teardown', '--yes')
      await isAs(state)
    },
    /** Runs a task that has to refuse, in these words, and to leave the machine as it is. */
    async refuses(words: RegExp, task = ['setup-dnsmasq']) {
      const state = await snapshotOf(machine)
      const [name = '', ...options] = task
      const { exitCode, stderr } = await machine.task(name, ...options)
      assert.notEqual(exitCode, 0, stderr)
      assert.match(stderr, words)
      assert.match(stderr, /→ /, 'it says what to do')
      assert.doesNotMatch(stderr, /defect of its own|\n\s+at .*:\d+:\d+/)
      await isAs(state)
    },
  }
}
