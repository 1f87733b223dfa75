import { messageOf, PlatformError } from '../system/errors.ts'
import { commandLine, hasTool } from '../system/exec.ts'
import type { PathState } from '../system/files.ts'
import type { Privilege } from '../system/privilege.ts'
import { type DaemonChange, previewDaemon, undoDaemon } from './daemons.ts'
import type { JournalFile } from './journal-file.ts'
import { previewAccounts, previewPackageRemoval, undoAccounts, undoPackages } from './packages.ts'
import { firstChange, joined, type PathChange, previewFolder, previewPath, undoFolder, undoPath } from './paths.ts'
import type { Undone, UndoOutcome } from './recorder.ts'
import type { JournalRecord } from './records.ts'
import { previewUnit, undoUnit } from './units.ts'

export interface UndoOptions {
  file: JournalFile
  privilege: Privilege
  /** Oldest first. */
  records: readonly JournalRecord[]
  /** Told of each as it is done. */
  report?: ((undone: Undone) => void) | undefined
}

/** What is undone in one go: records of one path, or of one daemon, belong together. */
type Grouped = PathChange | DaemonChange | Exclude<JournalRecord, { kind: 'path' | 'process' | 'started' }>

/**
 * Undoes recorded changes, latest first, and marks each as undone when it is. What somebody else changed since, or needs now, is kept, and what fails
 * does not keep the others from being undone; both stay recorded. Undoing twice, or after a crash in the middle, is harmless: what is as before
 * already is only marked. Throws, before it changes anything, where the journal cannot be written.
 */
export async function undo({ file, privilege, records, report = () => {} }: UndoOptions): Promise<Undone[]> {
  const undone: Undone[] = []
  if (records.length > 0) await file.requireWritable()
  for (const change of grouped(records).reverse()) {
    const results = await undoOne(change, records, privilege).catch(error => [failed(change, error)])
    if (results.every(isUndone))
      await file.close(idsOf(change)).catch(error => results.splice(0, results.length, failed(change, error)))
    for (const result of results) report(result)
    undone.push(...results)
  }
  return undone
}

/** What undo would do, in the order of doing. Changes nothing and needs no root. */
export async function previewUndo(records: readonly JournalRecord[]): Promise<Undone[]> {
  const restored = new Map<string, PathState>()
  const undone: Undone[] = []
  for (const change of grouped(records).reverse())
    undone.push(...(await preview(change, records, restored).catch(error => [failed(change, error)])))
  return undone
}

/** Whether nothing is left to undo of it. */
export function isUndone({ outcome }: Undone): boolean {
  return outcome !== 'kept' && outcome !== 'failed'
}

/** An outcome as a person reads it: `removed`, `kept: changed since by somebody else`. */
export function describeUndone(undone: Undone): string {
  return 'why' in undone ? `${undone.outcome}: ${undone.why}` : undone.outcome
}

async function undoOne(change: Grouped, records: readonly JournalRecord[], privilege: Privilege): Promise<Undone[]> {
  const named = (outcome: UndoOutcome): Undone[] => [{ what: nameOf(change), ...outcome }]
  switch (change.kind) {
    case 'paths':
      return named(await undoPath(change, privilege))
    case 'directory':
      return named(await undoFolder(change.path, privilege))
    case 'accounts':
      return named(await undoAccounts(change, managerOf(change.packages, records), privilege))
    case 'packages':
      return undoPackages(change.manager, change.names, privilege)
    case 'unit':
      return named(await undoUnit(change, privilege))
    case 'daemon':
      return named(await undoDaemon(change, privilege))
    case 'after-undo':
      // a program that is gone needs no telling
      if (await hasTool(change.command[0] ?? '')) await privilege.$({ timeout: '2m' })`${change.command}`
      return named({ outcome: 'run' })
  }
}

async function preview(
  change: Grouped,
  records: readonly JournalRecord[],
  restored: Map<string, PathState>,
): Promise<Undone[]> {
  const named = (outcome: UndoOutcome): Undone[] => [{ what: nameOf(change), ...outcome }]
  switch (change.kind) {
    case 'paths':
      return named(await previewPath(change, restored))
    case 'directory':
      return named(await previewFolder(change.path))
    case 'accounts':
      return named(await previewAccounts(change, managerOf(change.packages, records)))
    case 'packages':
      return previewPackageRemoval(change.manager, change.names)
    case 'unit':
      return named(await previewUnit(change))
    case 'daemon':
      return named(await previewDaemon(change))
    case 'after-undo':
      return named({ outcome: 'run' })
  }
}

function managerOf(packages: readonly string[], records: readonly JournalRecord[]) {
  const installation = records.find(each => each.kind === 'packages' && each.names.join() === packages.join())
  return installation?.kind === 'packages' ? installation.manager : undefined
}

function failed(change: Grouped, error: unknown): Undone {
  const why = error instanceof PlatformError ? [error.message, error.why].filter(Boolean).join(': ') : messageOf(error)
  return { what: nameOf(change), outcome: 'failed', why }
}

function idsOf(change: Grouped): string[] {
  return 'ids' in change ? change.ids : [change.id]
}

function nameOf(change: Grouped): string {
  switch (change.kind) {
    case 'paths':
    case 'directory':
      return change.path
    case 'daemon':
      return change.name
    case 'accounts':
      return 'users and groups'
    case 'packages':
      return change.names.join(', ')
    case 'unit':
      return change.unit
    case 'after-undo':
      // a script, which nobody would type, goes by the name it was given (`sh -c SCRIPT NAME …`)
      return commandLine(change.command[1] === '-c' ? change.command.slice(3) : change.command)
  }
}

/** Puts repeated writes of a path together at the place of the first, as long as each found what the one before had left; and daemons with their processes. */
function grouped(records: readonly JournalRecord[]): Grouped[] {
  const changes: Grouped[] = []
  const latest = new Map<string, PathChange>()
  const daemons = new Map<string, DaemonChange>()
  for (const record of records) {
    switch (record.kind) {
      case 'process': {
        const { id, name, command } = record
        const daemon: DaemonChange = { kind: 'daemon', ids: [id], name, command, identities: [] }
        daemons.set(name, daemon)
        changes.push(daemon)
        break
      }
      case 'started':
        daemons.get(record.name)?.ids.push(record.id)
        daemons.get(record.name)?.identities.push(record.identity)
        break
      case 'path': {
        if (joined(latest.get(record.path), record)) break
        const change = firstChange(record)
        latest.set(record.path, change)
        changes.push(change)
        break
      }
      default:
        changes.push(record)
    }
  }
  return changes
}
