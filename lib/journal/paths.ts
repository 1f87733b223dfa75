import { dirname } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import { type PathState, removeLeftovers, sameState, setState, stateOf } from '../system/files.ts'
import type { Privilege } from '../system/privilege.ts'
import { withoutContext } from './kubeconfig.ts'
import { perform, type Recorder, type UndoOutcome } from './recorder.ts'
import type { Block, JournalRecord } from './records.ts'

/** All writes of one path between which nobody else wrote: what it was at first, and all that we made of it. */
export interface PathChange {
  kind: 'paths'
  ids: string[]
  path: string
  before: PathState
  ours: PathState[]
  block: Block | undefined
}

type PathRecord = Extract<JournalRecord, { kind: 'path' }>

/** Brings a path into a state; missing folders above it are created. `command` is what a person would type instead. */
export async function changePath(
  recorder: Recorder,
  path: string,
  after: PathState,
  command: string,
  block?: Block,
): Promise<'unchanged' | 'created' | 'updated'> {
  const before = await stateOf(path)
  if (sameState(before, after)) return 'unchanged'
  if (before.kind === 'directory' || before.kind === 'other')
    throw new PlatformError(`${path} is not a file, so it cannot be replaced by one`, { hint: `ls -ld ${path}` })
  if (after.kind !== 'absent') await createFolder(recorder, dirname(path))
  const verb = after.kind === 'absent' ? 'remove' : before.kind === 'absent' ? 'create' : 'change'
  const change = { kind: 'path', path, before, after, ...(block ? { block } : {}) } as const
  await perform(recorder, change, { what: `${verb} ${path}`, command }, () => setState(path, after, recorder.privilege))
  return before.kind === 'absent' ? 'created' : 'updated'
}

async function createFolder(recorder: Recorder, path: string): Promise<void> {
  if ((await stateOf(path)).kind !== 'absent') return
  await createFolder(recorder, dirname(path))
  const planned = { what: `create ${path}`, command: `mkdir -m 0755 ${path}` }
  await perform(recorder, { kind: 'directory', path }, planned, () =>
    setState(path, { kind: 'directory' }, recorder.privilege),
  )
}

/** Adds a write to an earlier one of the same path, where it found what that had left; undefined where somebody else wrote in between. */
export function joined(earlier: PathChange | undefined, { id, before, after }: PathRecord): PathChange | undefined {
  if (!earlier || ![earlier.before, ...earlier.ours].some(state => sameState(state, before))) return undefined
  earlier.ids.push(id)
  earlier.ours.push(after)
  return earlier
}

/** A write as the first of its path. */
export function firstChange({ id, path, before, after, block }: PathRecord): PathChange {
  return { kind: 'paths', ids: [id], path, before, ours: [after], block }
}

/** Brings a path back to what it was; of a file that somebody else has changed since, only our part goes. */
export async function undoPath(change: PathChange, privilege: Privilege): Promise<UndoOutcome> {
  await removeLeftovers(change.path, privilege)
  const { outcome, after } = undoneState(change, await stateOf(change.path))
  if (after !== undefined) await setState(change.path, after, privilege)
  return outcome
}

/** What undoing a change would do; `restored` has what a dry run would have brought back by now. */
export async function previewPath(change: PathChange, restored: Map<string, PathState>): Promise<UndoOutcome> {
  const { outcome, after } = undoneState(change, restored.get(change.path) ?? (await stateOf(change.path)))
  if (after !== undefined) restored.set(change.path, after)
  return outcome
}

function undoneState({ before, ours, block }: PathChange, now: PathState): { outcome: UndoOutcome; after?: PathState } {
  if (sameState(now, before)) return { outcome: { outcome: 'unchanged' } }
  if (ours.some(state => sameState(now, state) || isTorn(now, state)))
    return { outcome: { outcome: before.kind === 'absent' ? 'removed' : 'restored' }, after: before }
  const changed: UndoOutcome = { outcome: 'kept', why: 'changed since by somebody else' }
  if (now.kind === 'absent')
    return { outcome: block ? { outcome: 'unchanged' } : { outcome: 'kept', why: 'removed since by somebody else' } }
  if (block === undefined || now.kind !== 'file') return { outcome: changed }
  const text = Buffer.from(now.content, 'base64').toString()
  const rest = withoutBlock(text, block)
  if (rest === undefined) return { outcome: changed }
  if (rest === text) return { outcome: { outcome: 'unchanged' } }
  return {
    outcome: { outcome: 'our part removed' },
    after: { ...now, content: Buffer.from(rest).toString('base64') },
  }
}

// a file that had to be written in place, cut off by a power failure
function isTorn(now: PathState, ours: PathState): boolean {
  if (now.kind !== 'file' || ours.kind !== 'file') return false
  const [found, whole] = [Buffer.from(now.content, 'base64'), Buffer.from(ours.content, 'base64')]
  return found.length < whole.length && whole.subarray(0, found.length).equals(found)
}

/** A text without our part; the same text where it has none, undefined where our part cannot be told from the rest. */
function withoutBlock(text: string, block: Block): string | undefined {
  if ('context' in block) return withoutContext(text, block.context)
  const lines = text.split('\n')
  const first = lines.indexOf(block.begin)
  if (first < 0) return text
  const last = lines.indexOf(block.end, first)
  if (last < 0) return undefined
  lines.splice(first, last - first + 1)
  return lines.join('\n')
}

/** Removes a folder that we created, where it is empty. */
export async function undoFolder(path: string, { $ }: Privilege): Promise<UndoOutcome> {
  const preview = await previewFolder(path)
  if (preview.outcome !== 'removed') return preview
  const { exitCode } = await $({ nothrow: true })`rmdir ${path}`
  return exitCode === 0 ? preview : { outcome: 'kept', why: 'not empty' }
}

export async function previewFolder(path: string): Promise<UndoOutcome> {
  return { outcome: (await stateOf(path)).kind === 'directory' ? 'removed' : 'unchanged' }
}
