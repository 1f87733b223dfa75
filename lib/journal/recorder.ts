import { randomUUID } from 'node:crypto'
import type { Privilege } from '../system/privilege.ts'
import type { JournalFile } from './journal-file.ts'
import type { Change } from './records.ts'

/** One change that was left out, or listed before it is made: in words, and as a command a person can run. */
export interface PlannedChange {
  what: string
  command: string
}

/** What every kind of change needs: where it is recorded, and how root's commands run. */
export interface Recorder {
  file: JournalFile
  stateDir: string
  privilege: Privilege
  scope: string
  dryRun: boolean
  /** What a dry run left out. */
  planned: PlannedChange[]
}

/** What became of one recorded change. */
export type Undone = { what: string } & (
  | { outcome: 'restored' | 'removed' | 'our part removed' | 'ended' | 'run' }
  /** There was nothing to undo: the change never happened, or somebody undid it before. */
  | { outcome: 'unchanged' }
  /** Somebody else has changed it since, or needs it now; it stays recorded. */
  | { outcome: 'kept'; why: string }
  /** It could not be undone; it stays recorded. */
  | { outcome: 'failed'; why: string }
)

/** An outcome before it is known what it is about. */
export type UndoOutcome = Undone extends infer Each ? (Each extends Undone ? Omit<Each, 'what'> : never) : never

/** Adds a change to what a dry run would do, once. */
export function plan({ planned }: Recorder, change: PlannedChange): void {
  if (!planned.some(({ command }) => command === change.command)) planned.push(change)
}

/** Puts a change on the disk, before it begins. Returns the record's id. */
export async function record({ file, scope }: Recorder, change: Change, of = scope, id: string = randomUUID()) {
  await file.append({ id, scope: of, at: new Date().toISOString(), ...change })
}

/** Records a change, then makes it; in a dry run only plans it. */
export async function perform(
  recorder: Recorder,
  change: Change,
  planned: PlannedChange,
  action: () => Promise<unknown>,
): Promise<void> {
  if (recorder.dryRun) return plan(recorder, planned)
  await record(recorder, change)
  await action()
}
