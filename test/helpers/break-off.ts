import assert from 'node:assert/strict'
import { checkout, type Machine, startMachines } from './machine.ts'
import type { MachineKind } from './machine-images.ts'
import { succeeds } from './resolver-tests.ts'
import { differences, type Snapshot, snapshotOf } from './snapshot.ts'

/** Ways to break a task off; see crash.mjs. */
export type Way = 'SIGKILL' | 'SIGINT' | 'torn' | 'late'

/** A task that changes the machine. */
export interface Setup {
  title: string
  command: readonly string[]
  /** Settings other than those of the machine. */
  env?: Record<string, string>
  /** What has to be there before it; the machine is as it was when this begins. */
  before?: (machine: Machine) => Promise<void>
  /** Default: workstation. */
  kind?: MachineKind
  /** Moments that are tried; default: all. */
  only?: RegExp
  /** Moments that there are at least: fewer would mean that the test looks past them. */
  atLeast: number
}

/** What a setup ends with, and the moments on the way, on one machine. */
export interface Course {
  converged: Snapshot
  moments: string[]
}

/** One machine, with what it was before anything. */
export interface Lab {
  machine: Machine
  untouched: Snapshot
  isUsable: boolean
  courses: Map<Setup, Course>
}

const preload = { NODE_OPTIONS: `--import ${checkout}/test/helpers/crash.mjs` }
const launcher = 'lib/cli/launch.mjs'
/** The command that runs a task. */
export const taskCommand = (task: string) => ['node', launcher, task]
const log = '/tmp/moments'

/** Machines of these kinds, each for one test at a time. */
export async function openLabs(kinds: readonly MachineKind[], report: (line: string) => void) {
  const labs: Lab[] = []
  for (const machine of await startMachines(kinds, report)) {
    await succeeds(machine, 'configure', '--yes')
    labs.push({ machine, untouched: await snapshotOf(machine), isUsable: true, courses: new Map() })
  }
  const free = new Set(labs)
  const waiting: (() => void)[] = []
  return {
    /** Runs an action with a machine of the kind, when one is free. */
    async use(kind: MachineKind, action: (lab: Lab) => Promise<void>): Promise<void> {
      for (;;) {
        const lab = [...free].find(({ machine, isUsable }) => machine.kind === kind && isUsable)
        if (lab === undefined) {
          assert.ok(
            labs.some(other => other.machine.kind === kind && !free.has(other)),
            `an earlier test left no machine of kind ${kind} as it was`,
          )
          await new Promise<void>(resume => waiting.push(resume))
          continue
        }
        free.delete(lab)
        try {
          return await action(lab)
        } finally {
          free.add(lab)
          for (const resume of waiting.splice(0)) resume()
        }
      }
    },
    end: () => labs[0]?.machine.end(),
  }
}

/** Says what is not as it should be, one line each. */
export async function isAs(wanted: Snapshot, { machine }: Lab, when: string): Promise<void> {
  assert.equal(differences(wanted, await snapshotOf(machine)).join('\n'), '', when)
}

/** Runs a setup that nothing breaks off, and takes it back. */
export async function courseOf(lab: Lab, setup: Setup): Promise<Course> {
  const known = lab.courses.get(setup)
  if (known) return known
  const { machine, untouched } = lab
  await setup.before?.(machine)
  await machine.sh('rm -f "$1"', log)
  await finish(lab, setup, { ...preload, CRASH_LOG: log })
  const course = { converged: await snapshotOf(machine), moments: (await machine.sh('cat "$1"', log)).split('\n') }
  assert.ok(course.moments.length >= setup.atLeast, course.moments.join('\n'))
  await succeeds(machine, 'teardown', '--yes')
  await isAs(untouched, lab, 'teardown after a run that nothing broke off')
  lab.courses.set(setup, course)
  return course
}

/** Runs a setup until a moment, and breaks it off there. */
export async function breakOff({ machine }: Lab, setup: Setup, moment: number, by: Way): Promise<void> {
  await setup.before?.(machine)
  const env = { ...setup.env, ...preload, CRASH_AT: String(moment), CRASH_BY: by }
  const { exitCode, stderr } = await machine.ask(setup.command, { env })
  const expected = by === 'SIGINT' ? 130 : 137
  assert.equal(exitCode, expected, `${setup.title} should have been broken off at moment ${moment}\n${stderr}`)
  if (by === 'SIGINT' && setup.command.includes(launcher)) assert.match(stderr, /✗ Interrupted\n {2}→ .*\n$/)
}

/** Runs a setup to its end. */
export async function finish({ machine }: Lab, { title, command, env = {} }: Setup, others = {}): Promise<void> {
  const { exitCode, stdout, stderr } = await machine.ask(command, { env: { ...env, ...others } })
  assert.equal(exitCode, 0, `${title}\n${stdout}${stderr}`)
}

/**
 * Takes everything back with a teardown that is broken off at each of its steps: each run marks what the one before has done, and is broken off
 * when the next change is taken back and not marked. Gives how often.
 */
export async function tearDownInPieces({ machine }: Lab, by: 'SIGKILL' | 'SIGINT'): Promise<number> {
  for (let pieces = 0; pieces < 200; pieces += 1) {
    const env = { ...preload, CRASH_AT: '2', CRASH_BY: by, CRASH_ON: 'undone' }
    const { exitCode, stdout, stderr } = await machine.ask(['node', 'lib/cli/launch.mjs', 'teardown', '--yes'], { env })
    if (exitCode === 0) return pieces
    assert.equal(exitCode, by === 'SIGINT' ? 130 : 137, `teardown\n${stdout}${stderr}`)
  }
  assert.fail('a teardown that is broken off again and again gets nowhere')
}
