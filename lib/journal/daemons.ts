import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import { commandLine, lastLines } from '../system/exec.ts'
import { ensureFolder } from '../system/files.ts'
import type { Privilege } from '../system/privilege.ts'
import {
  endProcess,
  identityOf,
  isSame,
  type ProcessIdentity,
  processesRunning,
  startDetached,
} from '../system/processes.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { perform, plan, type Recorder, record, type UndoOutcome } from './recorder.ts'
import type { JournalRecord } from './records.ts'

export interface Daemon {
  /** One per daemon within the whole platform; also the name of its log, `<stateDir>/log/<name>.log`. */
  name: string
  /** Program and arguments exactly as /proc shows them afterwards: the program must not fork away or change its title. */
  command: readonly string[]
  /** Whether it does its job by now; called until it does. */
  ready: () => Promise<boolean>
  /** Default 5 s. */
  readyWithinMs?: number
}

/** One daemon: what was to be started, and which processes came of it. */
export interface DaemonChange {
  kind: 'daemon'
  ids: string[]
  name: string
  command: string[]
  identities: ProcessIdentity[]
}

/** Starts a daemon in place of any other of its name, or finds it running. `endRecorded` ends those that were recorded under the name. */
export async function startDaemon(
  recorder: Recorder,
  daemon: Daemon,
  endRecorded: (name: string) => Promise<'unchanged' | 'removed'>,
): Promise<'unchanged' | 'created' | 'updated'> {
  const { name, command, ready } = daemon
  const running = await processesRunning(command)
  if (running.length > 0 && (await ready())) return keepRunning(recorder, daemon, running)
  const log = join(recorder.stateDir, 'log', `${name}.log`)
  const replaced = await endRecorded(name)
  const planned = { what: `start ${name}`, command: `setsid ${commandLine(command)} </dev/null >>${log} 2>&1 &` }
  await perform(recorder, { kind: 'process', name, command: [...command] }, planned, async () => {
    for (const stale of running) await endProcess(stale, recorder.privilege)
    await start(recorder, daemon, log)
  })
  return replaced === 'removed' ? 'updated' : 'created'
}

/** One that runs as it should stays; where the journal that it was recorded in is lost, it is recorded again, so that undo ends it. */
async function keepRunning(
  recorder: Recorder,
  { name, command }: Daemon,
  running: readonly ProcessIdentity[],
): Promise<'unchanged' | 'updated'> {
  if (recordsOf(name, await recorder.file.read()).length > 0) return 'unchanged'
  const planned = { what: `take over the process ${name}`, command: `# records ${name}` }
  await perform(recorder, { kind: 'process', name, command: [...command] }, planned, async () => {
    for (const { pid, startTime } of running)
      await record(recorder, { kind: 'started', name, identity: { pid, startTime } })
  })
  return 'updated'
}

async function start(recorder: Recorder, daemon: Daemon, log: string): Promise<void> {
  await ensureFolder(dirname(log))
  const pid = await startDetached(daemon.command, log, recorder.privilege)
  const identity = await identityOf(pid)
  if (identity) {
    const { startTime } = identity
    await record(recorder, { kind: 'started', name: daemon.name, identity: { pid, startTime } })
  }
  await waitUntilReady(daemon, log, async () => identity !== undefined && isSame(identity))
}

async function waitUntilReady(
  { name, ready, readyWithinMs = 5000 }: Daemon,
  log: string,
  isAlive: () => Promise<boolean>,
): Promise<void> {
  const failed = async (what: string) =>
    new PlatformError(`${name} ${what}`, {
      why: lastLines(await readFile(log, 'utf8').catch(() => '')) || 'It wrote nothing',
      hint: `Its log: ${log}`,
    })
  const outcome = await waitFor(
    async () => {
      if (await ready()) return 'ready'
      return (await isAlive()) ? new NotYet('it runs') : 'ended'
    },
    { timeoutMs: readyWithinMs, pauseMs: 50, onTimeout: () => failed(`did not work within ${readyWithinMs / 1000} s`) },
  )
  if (outcome === 'ended') throw await failed('ended at once')
}

/** The records of one name. */
export function recordsOf(name: string, records: readonly JournalRecord[]): JournalRecord[] {
  return records.filter(each => (each.kind === 'process' || each.kind === 'started') && each.name === name)
}

/** Says what ending a daemon would be, for a dry run. */
export function planEnd(recorder: Recorder, name: string): void {
  plan(recorder, { what: `end the process ${name}`, command: `# ends ${name}` })
}

/** Ends a daemon's processes. */
export async function undoDaemon(change: DaemonChange, privilege: Privilege): Promise<UndoOutcome> {
  const running = await runningOf(change)
  for (const identity of running) await endProcess(identity, privilege)
  for (const identity of running) {
    if (await isSame(identity)) return { outcome: 'failed', why: `process ${identity.pid} does not end` }
  }
  return { outcome: running.length > 0 ? 'ended' : 'unchanged' }
}

export async function previewDaemon(change: DaemonChange): Promise<UndoOutcome> {
  return { outcome: (await runningOf(change)).length > 0 ? 'ended' : 'unchanged' }
}

// the command line finds what was started by a run that was killed before it could note the pid
async function runningOf({ command, identities }: DaemonChange): Promise<ProcessIdentity[]> {
  const running = await processesRunning(command)
  for (const identity of identities) {
    if ((await isSame(identity)) && !running.some(({ pid }) => pid === identity.pid)) running.push(identity)
  }
  return running
}
