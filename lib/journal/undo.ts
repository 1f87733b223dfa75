import { PlatformError } from '../system/errors.ts'
import { hasTool, shown } from '../system/exec.ts'
import { type PathState, removeLeftovers, sameState, setState, stateOf } from '../system/files.ts'
import {
  missingPackages,
  type PackageManagerName,
  removeCommand,
  runPackageManager,
  settlePackages,
} from '../system/packages.ts'
import type { Privilege } from '../system/privilege.ts'
import { endProcess, isSame, type ProcessIdentity, processesRunning } from '../system/processes.ts'
import { unitState } from '../system/systemd.ts'
import { restoreAccounts } from './accounts.ts'
import type { Block, JournalFile, JournalRecord } from './records.ts'

/** What became of one recorded change. */
export interface Undone {
  /** The path, package, unit or process. */
  what: string
  /**
   * `was so already`: the change never happened, or somebody took it back before. `left`: somebody else changed it since; `failed`: it could
   * not be taken back. Both stay recorded.
   */
  outcome:
    | 'restored'
    | 'removed'
    | 'our part removed'
    | 'ended'
    | 'done'
    | 'was so already'
    | `left: ${string}`
    | `failed: ${string}`
}

export interface UndoOptions {
  file: JournalFile
  privilege: Privilege
  /** Oldest first. */
  records: readonly JournalRecord[]
  /** Only say what would become of each. */
  dryRun: boolean
  /** Told of each as it is done. */
  report?: (undone: Undone) => void
}

/** One daemon: what was to be started, and which processes came of it. */
interface DaemonChange {
  kind: 'daemon'
  ids: string[]
  name: string
  command: string[]
  identities: ProcessIdentity[]
}

type Grouped = PathChange | DaemonChange | Exclude<JournalRecord, { kind: 'path' | 'process' | 'started' }>

/** All writes of one path between which nobody else wrote: what it was at first, and all that we made of it. */
interface PathChange {
  kind: 'paths'
  ids: string[]
  path: string
  before: PathState
  ours: PathState[]
  block: Block | undefined
}

/**
 * Takes recorded changes back, latest first, and marks each as undone when it is. What somebody else changed since is left and stays recorded.
 * Undoing twice, or after a crash in the middle, is harmless: what is as before already is only marked.
 */
export async function undo({ file, privilege, records, dryRun, report = () => {} }: UndoOptions): Promise<Undone[]> {
  const undone: Undone[] = []
  // what a dry run would have put back by now
  const restored = new Map<string, PathState>()
  for (const change of grouped(records).reverse()) {
    const ids = 'ids' in change ? change.ids : [change.id]
    const results = await undoOne(change).catch((error): Undone[] => {
      if (!(error instanceof PlatformError)) throw error
      // the others can still be taken back
      const why = [error.message, error.why].filter(Boolean).join(': ')
      return [{ what: nameOf(change), outcome: `failed: ${why}` }]
    })
    for (const result of results) report(result)
    undone.push(...results)
    if (!dryRun && results.every(({ outcome }) => !/^(left|failed)/.test(outcome))) await file.close(ids)
  }
  return undone

  async function undoOne(change: Grouped): Promise<Undone[]> {
    switch (change.kind) {
      case 'paths':
        return [{ what: change.path, outcome: await undoPath(change) }]
      case 'directory':
        return [{ what: change.path, outcome: await undoDirectory(change.path) }]
      case 'accounts':
        return [{ what: 'users and groups', outcome: await undoAccounts(change) }]
      case 'packages':
        return undoPackages(change.manager, change.names)
      case 'unit':
        return [{ what: change.unit, outcome: await undoUnit(change) }]
      case 'daemon':
        return [{ what: change.name, outcome: await endDaemon(change) }]
      case 'after-undo':
        // a program that is gone needs no telling
        if (!dryRun && (await hasTool(change.command[0] ?? ''))) await privilege.run(change.command)
        return [{ what: called(change.command), outcome: 'done' }]
    }
  }

  async function undoPath({ path, before, ours, block }: PathChange): Promise<Undone['outcome']> {
    if (!dryRun) await removeLeftovers(path, privilege)
    const now = restored.get(path) ?? (await stateOf(path))
    if (sameState(now, before)) return 'was so already'
    if (!ours.some(state => sameState(now, state) || isTorn(now, state))) {
      const rest = block && withoutBlock(now, block)
      if (rest === undefined)
        return now.kind === 'absent' ? 'left: removed since by somebody else' : 'left: changed since by somebody else'
      if (!dryRun) await setState(path, rest, privilege)
      return 'our part removed'
    }
    if (dryRun) restored.set(path, before)
    else await setState(path, before, privilege)
    return before.kind === 'absent' ? 'removed' : 'restored'
  }

  async function undoDirectory(path: string): Promise<Undone['outcome']> {
    if ((await stateOf(path)).kind !== 'directory') return 'was so already'
    if (dryRun) return 'removed'
    const { exitCode } = await privilege.ask(['rmdir', path])
    return exitCode === 0 ? 'removed' : 'left: not empty'
  }

  async function undoAccounts(change: { folder: string; packages: string[] }): Promise<Undone['outcome']> {
    if (dryRun) return 'was so already'
    const outcome = await restoreAccounts(change.folder, change.packages, privilege)
    return outcome === 'part' ? 'our part removed' : outcome === 'restored' ? 'restored' : 'was so already'
  }

  async function undoPackages(manager: PackageManagerName, names: readonly string[]): Promise<Undone[]> {
    if (!dryRun) await settlePackages(manager, privilege)
    const missing = await missingPackages(manager, names)
    const installed = names.filter(name => !missing.includes(name))
    if (installed.length > 0 && !dryRun) await runPackageManager(manager, removeCommand(manager, installed), privilege)
    return names.map(name => ({
      what: `package ${name}`,
      outcome: installed.includes(name) ? 'removed' : 'was so already',
    }))
  }

  async function undoUnit(before: { unit: string; enabled: boolean; active: boolean }): Promise<Undone['outcome']> {
    const now = await unitState(before.unit)
    if (now.enabled === before.enabled && now.active === before.active) return 'was so already'
    const [disable, stop] = [now.enabled && !before.enabled, now.active && !before.active]
    // one command where both are wanted: each costs systemd a look at all units
    const words = disable ? ['disable', ...(stop ? ['--now'] : [])] : stop ? ['stop'] : []
    if (!dryRun && words.length > 0) await privilege.run(['systemctl', ...words, before.unit])
    return 'restored'
  }

  async function endDaemon({ command, identities }: DaemonChange): Promise<Undone['outcome']> {
    // the command line finds what was started by a run that was killed before it could note the pid
    const running = await processesRunning(command)
    for (const identity of identities) {
      if ((await isSame(identity)) && !running.some(({ pid }) => pid === identity.pid)) running.push(identity)
    }
    if (running.length === 0) return 'was so already'
    if (dryRun) return 'ended'
    for (const identity of running) await endProcess(identity, privilege)
    for (const identity of running) {
      if (await isSame(identity)) return `left: process ${identity.pid} does not end`
    }
    return 'ended'
  }
}

/** A command as a person would type it; a script, which nobody would, goes by the name it was given (`sh -c SCRIPT NAME …`). */
function called(command: readonly string[]): string {
  return shown(command[1] === '-c' ? command.slice(3) : command)
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
      return called(change.command)
  }
}

/** Puts repeated writes of a path together at the place of the first, as long as each found what the one before had left; and daemons with their processes. */
function grouped(records: readonly JournalRecord[]): Grouped[] {
  const changes: Grouped[] = []
  const latest = new Map<string, PathChange>()
  const daemons = new Map<string, DaemonChange>()
  for (const record of records) {
    if (record.kind === 'process') {
      const { id, name, command } = record
      const daemon: DaemonChange = { kind: 'daemon', ids: [id], name, command, identities: [] }
      daemons.set(name, daemon)
      changes.push(daemon)
      continue
    }
    if (record.kind === 'started') {
      const daemon = daemons.get(record.name)
      daemon?.ids.push(record.id)
      daemon?.identities.push(record.identity)
      continue
    }
    if (record.kind !== 'path') {
      changes.push(record)
      continue
    }
    const earlier = latest.get(record.path)
    if (earlier && [earlier.before, ...earlier.ours].some(state => sameState(state, record.before))) {
      earlier.ids.push(record.id)
      earlier.ours.push(record.after)
      continue
    }
    const { id, path, before, after, block } = record
    const change: PathChange = { kind: 'paths', ids: [id], path, before, ours: [after], block }
    latest.set(path, change)
    changes.push(change)
  }
  return changes
}

// a file that had to be written in place, cut off by a power failure
function isTorn(now: PathState, ours: PathState): boolean {
  if (now.kind !== 'file' || ours.kind !== 'file') return false
  const [found, whole] = [Buffer.from(now.content, 'base64'), Buffer.from(ours.content, 'base64')]
  return found.length < whole.length && whole.subarray(0, found.length).equals(found)
}

/** A file without our part; undefined where it has none that is whole. */
function withoutBlock(now: PathState, { begin, end }: Block): PathState | undefined {
  if (now.kind !== 'file') return undefined
  const lines = Buffer.from(now.content, 'base64').toString().split('\n')
  const first = lines.indexOf(begin)
  const last = lines.indexOf(end, first)
  if (first < 0 || last < 0) return undefined
  lines.splice(first, last - first + 1)
  return { ...now, content: Buffer.from(lines.join('\n')).toString('base64') }
}
