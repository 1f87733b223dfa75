import { randomUUID } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import { args, lastLines, shown } from '../system/exec.ts'
import { type PathState, sameState, setState, stateOf } from '../system/files.ts'
import {
  installCommand,
  missingPackages,
  type PackageManagerName,
  packagesToInstall,
  runPackageManager,
  settlePackages,
} from '../system/packages.ts'
import type { Privilege } from '../system/privilege.ts'
import { endProcess as endRunning, identityOf, isSame, processesRunning, startDetached } from '../system/processes.ts'
import { lookAtUnits } from '../system/systemd.ts'
import { accountsFolder, saveAccounts } from './accounts.ts'
import { type Block, type Change, journalFile } from './records.ts'
import { type Undone, undo } from './undo.ts'

export type { Undone } from './undo.ts'

export type Outcome = 'unchanged' | 'created' | 'updated'

export interface JournalOptions {
  stateDir: string
  privilege: Privilege
  /**
   * Which part of the platform the changes belong to, e.g. `dns/resolver` or `routes/data`; `undo` takes one scope with all below it back,
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

export interface Daemon {
  /** One per daemon within the whole platform; also the name of its log, `<stateDir>/log/<name>.log`. */
  name: string
  /** Program and arguments exactly as /proc shows them afterwards: the program must not fork away or change its title. */
  command: readonly string[]
  /** Whether it does its job by now; asked until it does. */
  ready: () => Promise<boolean>
  /** Default 5 s. */
  readyWithinMs?: number
}

/** One change that was left out, or listed before it is made: in words, and as a command a person can run. */
export interface PlannedChange {
  what: string
  command: string
}

/**
 * Changes to the machine outside this checkout go through here, so that teardown can take exactly those back. Every method looks at the real
 * state first, records what it was on disk (synced) before it touches anything, and returns 'unchanged' where there was nothing to do.
 * A crash at any moment is harmless, for running again as well as for undo. Several processes may use one journal at once.
 *
 *     const journal = openJournal({ stateDir, privilege, scope: 'routes/data' })
 *     await journal.afterUndo(['systemctl', 'daemon-reload'])        // before the files whose undo it has to follow
 *     await journal.writeFile('/etc/systemd/system/macula-x.socket', text)
 *     await journal.$`systemctl daemon-reload`
 *     await journal.enableUnits([{ unit: 'macula-x.socket' }])
 *     await journal.startProcess({ name: 'route-grafana-3000', command: ['socat', …], ready: () => accepts(address) })
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
  enableUnits(units: readonly { unit: string; scope?: string }[]): Promise<Outcome[]>
  /** Starts a daemon where systemd does not, or finds it running with the same command line. Throws with its last log lines. */
  startProcess(daemon: Daemon): Promise<Outcome>
  /** Ends the daemon(s) recorded under a name, so that another command line can take its place. */
  endProcess(name: string): Promise<'unchanged' | 'removed'>
  /** Runs a command as root that leaves nothing behind (daemon-reload, restart of a service). Not recorded; a dry run notes it. */
  $(pieces: TemplateStringsArray, ...values: unknown[]): Promise<void>
  /** Records a command that undo runs when everything recorded later in its scope is undone. */
  afterUndo(command: readonly string[]): Promise<void>
  /** Takes back this journal's scope and all below it (`'dns'` includes `'dns/resolver'`, `''` is everything), latest change first. */
  undo(options?: { scope?: string; dryRun?: boolean; report?: (undone: Undone) => void }): Promise<Undone[]>
  /** What a dry run left out, in order. */
  readonly planned: readonly PlannedChange[]
}

/** Opens the journal of a state folder. Nothing is read or written yet. */
export function openJournal({ stateDir, privilege, scope, dryRun = false }: JournalOptions): Journal {
  const file = journalFile(stateDir)
  const planned: PlannedChange[] = []

  function note(plan: PlannedChange): void {
    if (!planned.some(({ command }) => command === plan.command)) planned.push(plan)
  }

  const record = (change: Change, of = scope) =>
    file.append({ id: randomUUID(), scope: of, at: new Date().toISOString(), ...change })

  async function perform(change: Change, plan: PlannedChange, action: () => Promise<unknown>): Promise<void> {
    if (dryRun) return note(plan)
    await record(change)
    await action()
  }

  async function ensureFolder(path: string): Promise<void> {
    if ((await stateOf(path)).kind !== 'absent') return
    await ensureFolder(dirname(path))
    await perform({ kind: 'directory', path }, { what: `create ${path}`, command: `mkdir -m 0755 ${path}` }, () =>
      setState(path, { kind: 'directory' }, privilege),
    )
  }

  async function bring(path: string, after: PathState, command: string, block?: Block): Promise<Outcome> {
    const before = await stateOf(path)
    if (sameState(before, after)) return 'unchanged'
    if (before.kind === 'directory' || before.kind === 'other')
      throw new PlatformError(`${path} is in the way: it is no file`, { hint: `ls -ld ${path}` })
    if (after.kind !== 'absent') await ensureFolder(dirname(path))
    const what = `${after.kind === 'absent' ? 'remove' : before.kind === 'absent' ? 'create' : 'change'} ${path}`
    const change = { kind: 'path', path, before, after, ...(block ? { block } : {}) } as const
    await perform(change, { what, command }, () => setState(path, after, privilege))
    return before.kind === 'absent' ? 'created' : 'updated'
  }

  async function keepAccounts(packages: string[]): Promise<void> {
    const id = randomUUID()
    const folder = accountsFolder(id)
    await file.append({ id, scope, at: new Date().toISOString(), kind: 'accounts', folder, packages })
    await saveAccounts(folder, privilege)
  }

  async function endProcess(name: string): Promise<'unchanged' | 'removed'> {
    const records = (await file.read()).filter(
      record => (record.kind === 'process' || record.kind === 'started') && record.name === name,
    )
    if (records.length === 0) return 'unchanged'
    if (dryRun) note({ what: `end the process ${name}`, command: `# ends ${name}` })
    else await undo({ file, privilege, records, dryRun })
    return 'removed'
  }

  return {
    planned,
    endProcess,
    async writeFile(path, content, { mode = 0o644, owner = { uid: 0, gid: 0 }, block } = {}) {
      const text = Buffer.from(content)
      const shownCommand = `install -D -m ${mode.toString(8).padStart(4, '0')} /dev/stdin ${path} <<'EOF'\n${text}EOF`
      return bring(path, { kind: 'file', content: text.toString('base64'), mode, ...owner }, shownCommand, block)
    },
    link: (path, target) => bring(path, { kind: 'link', target }, shown(['ln', '-sfn', target, path])),
    removeFile: async path =>
      (await bring(path, { kind: 'absent' }, shown(['rm', '-f', path]))) === 'unchanged' ? 'unchanged' : 'removed',
    async installPackages(manager, names) {
      if ((await missingPackages(manager, names)).length === 0) return 'unchanged'
      if (!dryRun) await settlePackages(manager, privilege)
      const missing = await missingPackages(manager, names)
      if (missing.length === 0) return 'unchanged'
      const install = installCommand(manager, missing)
      const what = `install ${missing.join(', ')}`
      // with what comes along: the machine's own list of packages has to be as it was, too
      const all = dryRun ? missing : await packagesToInstall(manager, missing, privilege)
      // brew works as a user, and makes none
      if (!dryRun && manager !== 'brew') await keepAccounts(all)
      await perform({ kind: 'packages', manager, names: all }, { what, command: shown(install) }, () =>
        runPackageManager(manager, install, privilege),
      )
      return 'created'
    },
    async enableUnits(units) {
      const looks = await lookAtUnits(units.map(({ unit }) => unit))
      const states = units.map((each, index) => {
        const { enabled, active } = looks[index]!
        return { ...each, enabled, active }
      })
      const wanted = states.filter(({ enabled, active }) => !(enabled && active))
      const names = wanted.map(({ unit }) => unit)
      const enable = ['systemctl', 'enable', '--now', ...names]
      if (dryRun && names.length > 0) note({ what: `enable and start ${names.join(', ')}`, command: shown(enable) })
      else if (names.length > 0) {
        for (const { scope: own, ...state } of wanted) await record({ kind: 'unit', ...state }, own)
        await privilege.run(enable)
      }
      return states.map(({ enabled, active }) =>
        enabled && active ? 'unchanged' : enabled || active ? 'updated' : 'created',
      )
    },
    async startProcess({ name, command, ready, readyWithinMs = 5000 }) {
      const running = await processesRunning(command)
      if (running.length > 0 && (await ready())) return 'unchanged'
      const log = join(stateDir, 'log', `${name}.log`)
      const replaced = await endProcess(name)
      await perform(
        { kind: 'process', name, command: [...command] },
        { what: `start ${name}`, command: `setsid ${shown(command)} </dev/null >>${log} 2>&1 &` },
        async () => {
          for (const stale of running) await endRunning(stale, privilege)
          await mkdir(dirname(log), { recursive: true })
          const pid = await startDetached(command, log, privilege)
          const identity = await identityOf(pid)
          if (identity) {
            const { startTime } = identity
            await record({ kind: 'started', name, identity: { pid, startTime } })
          }
          await waitUntilReady(name, log, ready, readyWithinMs, async () => identity !== undefined && isSame(identity))
        },
      )
      return replaced === 'removed' ? 'updated' : 'created'
    },
    async $(pieces, ...values) {
      const command = args(pieces, ...values)
      if (dryRun) return note({ what: `run ${shown(command)}`, command: shown(command) })
      await privilege.run(command)
    },
    async afterUndo(command) {
      const same = (await file.read()).some(
        record => record.kind === 'after-undo' && record.scope === scope && shown(record.command) === shown(command),
      )
      if (same || dryRun) return
      await perform({ kind: 'after-undo', command: [...command] }, { what: '', command: '' }, async () => {})
    },
    async undo({ scope: wanted = scope, dryRun: onlyShow = dryRun, report = () => {} } = {}) {
      const records = (await file.read()).filter(
        record => wanted === '' || record.scope === wanted || record.scope.startsWith(`${wanted}/`),
      )
      const undone = await undo({ file, privilege, records, dryRun: onlyShow, report })
      if (dryRun) for (const { what } of undone) note({ what: `take back ${what}`, command: `# takes back ${what}` })
      return undone
    },
  }
}

async function waitUntilReady(
  name: string,
  log: string,
  ready: () => Promise<boolean>,
  withinMs: number,
  alive: () => Promise<boolean>,
): Promise<void> {
  const deadline = Date.now() + withinMs
  for (;;) {
    if (await ready()) return
    const died = !(await alive())
    if (died || Date.now() > deadline) {
      throw new PlatformError(died ? `${name} ended at once` : `${name} did not work within ${withinMs / 1000} s`, {
        why: lastLines(await readFile(log, 'utf8').catch(() => '')) || 'It wrote nothing',
        hint: `Its log: ${log}`,
      })
    }
    await new Promise(resume => setTimeout(resume, 50))
  }
}
