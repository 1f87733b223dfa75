import { args, commandLine } from '../system/exec.ts'
import type { PackageManagerName } from '../system/packages.ts'
import type { Privilege } from '../system/privilege.ts'
import { type Daemon, planEnd, recordsOf, startDaemon } from './daemons.ts'
import { journalFile } from './journal-file.ts'
import { installPackages } from './packages.ts'
import { changePath } from './paths.ts'
import { type PlannedChange, plan, type Recorder, record, type Undone } from './recorder.ts'
import type { Block } from './records.ts'
import { previewUndo, undo } from './undo.ts'
import { type EnableCommand, enableUnits } from './units.ts'

export type { PlannedChange, Undone } from './recorder.ts'

export type Outcome = 'unchanged' | 'created' | 'updated'

export interface JournalOptions {
  stateDir: string
  privilege: Privilege
  /**
   * Which part of the platform the changes belong to, e.g. `dns/resolver` or `routes/data`; `undo` undoes one scope with all below it,
   * so a part that changes its ways (another engine, another resolver) first undoes what the old way left.
   */
  scope: string
  /** Change nothing; `planned` then says what would have been done. */
  dryRun?: boolean
}

export interface FileOptions {
  /** Default 0644. */
  mode?: number
  /** Default root. */
  owner?: { uid: number; gid: number }
  /** Only this part of the content is ours: undo removes just it where somebody has changed the rest since. */
  block?: Block
}

/**
 * Changes to the machine outside this checkout go through here, so that teardown can undo exactly those. Every method looks at the real
 * state first, records what it was on disk (synced) before it touches anything, and returns 'unchanged' where there was nothing to do.
 * A crash at any moment is harmless, for running again as well as for undo. Several processes may use one journal at once.
 *
 *     const journal = openJournal({ stateDir, privilege, scope: 'routes/data' })
 *     await journal.afterUndo(args`systemctl daemon-reload`)         // before the files whose undo it has to follow
 *     await journal.writeFile('/etc/systemd/system/macula-x.socket', text)
 *     await journal.$`systemctl daemon-reload`
 *     await journal.enableUnits([{ unit: 'macula-x.socket' }])
 *     await journal.startProcess({ name: 'route-grafana-3000', command, ready: () => accepts(address) })
 *     const undone = await journal.undo()                            // this scope; teardown uses scope ''
 */
export interface Journal {
  /** Brings a file to this content, mode and owner; missing folders are created (0755) and recorded. */
  writeFile(path: string, content: string | Buffer, options?: FileOptions): Promise<Outcome>
  /** Makes `path` a symbolic link to `target`. */
  link(path: string, target: string): Promise<Outcome>
  /** Removes a file or link; undo brings it back. */
  removeFile(path: string): Promise<'unchanged' | 'removed'>
  /** Installs packages; those that are there already are not recorded and survive undo. */
  installPackages(manager: PackageManagerName, names: readonly string[]): Promise<Outcome>
  /**
   * `systemctl enable --now` for those that are not so already, in one command: each costs systemd a look at all units. Undo puts both states
   * of each back; a unit may have a scope of its own below this journal's. Outcomes come in the order of `units`.
   */
  enableUnits(units: readonly { unit: string; scope?: string }[], command?: EnableCommand): Promise<Outcome[]>
  /** Starts a daemon where systemd does not, or finds it running with the same command line. Throws with its last log lines. */
  startProcess(daemon: Daemon): Promise<Outcome>
  /** Ends the daemon(s) recorded under a name, so that another command line can take its place. */
  endProcess(name: string): Promise<'unchanged' | 'removed'>
  /** Runs a command as root that leaves nothing behind (daemon-reload, restart of a service). Not recorded; a dry run notes it. */
  $(pieces: TemplateStringsArray, ...values: unknown[]): Promise<void>
  /** Records a command that undo runs when everything recorded later in its scope is undone. */
  afterUndo(command: readonly string[]): Promise<void>
  /** Undoes this journal's scope and all below it (`'dns'` includes `'dns/resolver'`, `''` is everything), latest change first. */
  undo(options?: { scope?: string; dryRun?: boolean; report?: (undone: Undone) => void }): Promise<Undone[]>
  /** Nothing is changed, so what a change brings about does not come. */
  readonly isDryRun: boolean
  /** What a dry run left out, in order. */
  readonly planned: readonly PlannedChange[]
}

/** Opens the journal of a state folder. Nothing is read or written yet. */
export function openJournal({ stateDir, privilege, scope, dryRun = false }: JournalOptions): Journal {
  const recorder: Recorder = { file: journalFile(stateDir), stateDir, privilege, scope, dryRun, planned: [] }
  const end = (name: string) => endProcess(recorder, name)
  return {
    isDryRun: dryRun,
    planned: recorder.planned,
    writeFile: (path, content, options) => writeFile(recorder, path, content, options),
    link: (path, target) =>
      changePath(recorder, path, { kind: 'link', target }, commandLine(args`ln -sfn ${target} ${path}`)),
    removeFile: path => removeFile(recorder, path),
    installPackages: (manager, names) => installPackages(recorder, manager, names),
    enableUnits: (units, command) => enableUnits(recorder, units, command),
    startProcess: daemon => startDaemon(recorder, daemon, end),
    endProcess: end,
    $: (pieces, ...values) => runAsRoot(recorder, args(pieces, ...values)),
    afterUndo: command => afterUndo(recorder, command),
    undo: options => undoScope(recorder, options),
  }
}

async function writeFile(
  recorder: Recorder,
  path: string,
  content: string | Buffer,
  { mode = 0o644, owner = { uid: 0, gid: 0 }, block }: FileOptions = {},
): Promise<Outcome> {
  const text = Buffer.from(content)
  const command = `install -D -m ${mode.toString(8).padStart(4, '0')} /dev/stdin ${path} <<'EOF'\n${text}EOF`
  return changePath(recorder, path, { kind: 'file', content: text.toString('base64'), mode, ...owner }, command, block)
}

async function removeFile(recorder: Recorder, path: string): Promise<'unchanged' | 'removed'> {
  const outcome = await changePath(recorder, path, { kind: 'absent' }, commandLine(args`rm -f ${path}`))
  return outcome === 'unchanged' ? outcome : 'removed'
}

async function endProcess(recorder: Recorder, name: string): Promise<'unchanged' | 'removed'> {
  const { file, privilege, dryRun } = recorder
  const records = recordsOf(name, await file.read())
  if (records.length === 0) return 'unchanged'
  if (dryRun) planEnd(recorder, name)
  else await undo({ file, privilege, records })
  return 'removed'
}

async function runAsRoot(recorder: Recorder, command: readonly string[]): Promise<void> {
  const line = commandLine(command)
  if (recorder.dryRun) plan(recorder, { what: `run ${line}`, command: line })
  else await recorder.privilege.$({ timeout: '2m' })`${command}`
}

async function afterUndo(recorder: Recorder, command: readonly string[]): Promise<void> {
  const { file, scope, dryRun } = recorder
  const line = commandLine(command)
  const isKnown = (await file.read()).some(
    each => each.kind === 'after-undo' && each.scope === scope && commandLine(each.command) === line,
  )
  if (!isKnown && !dryRun) await record(recorder, { kind: 'after-undo', command: [...command] })
}

async function undoScope(
  recorder: Recorder,
  { scope = recorder.scope, dryRun: onlyShow = recorder.dryRun, report }: Parameters<Journal['undo']>[0] = {},
): Promise<Undone[]> {
  const { file, privilege, dryRun } = recorder
  const records = (await file.read()).filter(
    each => scope === '' || each.scope === scope || each.scope.startsWith(`${scope}/`),
  )
  if (!onlyShow) return undo({ file, privilege, records, report })
  const undone = await previewUndo(records)
  if (dryRun) for (const { what } of undone) plan(recorder, { what: `undo ${what}`, command: `# undoes ${what}` })
  return undone
}
