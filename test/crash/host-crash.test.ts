import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { checkout, type Machine, startMachine } from '../helpers/machine.ts'
import { noMachines } from '../helpers/requirements.ts'
import { succeeds } from '../helpers/resolver-tests.ts'
import { differences, type Snapshot, snapshotOf } from '../helpers/snapshot.ts'

/** Tasks that change the machine, with a number of records that each surely has: fewer would mean that the test looks past them. */
const tasks = { 'setup-dnsmasq': 8, 'setup-data-routing': 12 }
const ways = ['SIGKILL', 'torn', 'late', 'SIGINT'] as const
const exitCodes = { SIGKILL: 137, torn: 137, late: 137, SIGINT: 130 }

describe('a setup that is broken off after any record of its journal', { skip: await noMachines() }, () => {
  let machine: Machine
  let untouched: Snapshot
  const isAs = async (wanted: Snapshot, when: string) =>
    assert.equal(differences(wanted, await snapshotOf(machine)).join('\n'), '', when)
  const breakOff = async (task: string, record: number, by: (typeof ways)[number]) => {
    const env = {
      CRASH_AT: String(record),
      CRASH_BY: by,
      NODE_OPTIONS: `--import ${checkout}/test/helpers/crash.mjs`,
    }
    const { exitCode, stderr } = await machine.ask(['node', 'lib/launch.mjs', task], { env })
    assert.equal(exitCode, exitCodes[by], `${task} should have been broken off at record ${record}\n${stderr}`)
  }
  const teardown = () => succeeds(machine, 'teardown', '--yes')

  before(async () => {
    machine = await startMachine('resolved', line => console.error(line))
    await succeeds(machine, 'configure', '--yes')
    untouched = await snapshotOf(machine)
  })
  after(() => machine?.end())

  for (const [task, atLeast] of Object.entries(tasks)) {
    test(`${task}: run again it converges, and teardown gives the machine back, with or without that`, async t => {
      await succeeds(machine, task)
      const converged = await snapshotOf(machine)
      const records = Number(await machine.sh('grep --count \'"kind":\' .macula/journal.jsonl'))
      assert.ok(records >= atLeast, `${records} records`)
      await teardown()
      await isAs(untouched, 'after a run that nothing broke off')

      let isUsable = true
      for (let record = 1; record <= records; record++) {
        for (const way of ways) {
          const skip = !isUsable && 'an earlier one left the machine different'
          await t.test(`${way} at record ${record} of ${records}`, { skip }, async () => {
            isUsable = false
            await breakOff(task, record, way)
            await teardown()
            await isAs(untouched, 'teardown after the crash')
            // the rarer ways, run again, at every second record
            if (record % 2 === 1 || way === 'SIGKILL' || way === 'SIGINT') {
              await breakOff(task, record, way)
              await succeeds(machine, task)
              await isAs(converged, 'the same again after the crash')
              await teardown()
              await isAs(untouched, 'teardown after crash and second run')
            }
            isUsable = true
          })
        }
      }
    })
  }
})
