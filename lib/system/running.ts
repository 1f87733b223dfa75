import type { ChildProcess } from 'node:child_process'
import type { Readable } from 'node:stream'
import { processesBelow } from './proc.mjs'

/** How long a command that was told to end has for it, before SIGKILL. */
const graceMs = 2000
/** How long the kernel may take to clear away what it killed; a process that left the group may hold the pipes for ever. */
const killedMs = 500

/** A command that was started, and how it ends. */
export interface RunningCommand {
  child: ChildProcess
  /** Resolves when the process is gone and its pipes are closed. */
  ended: Promise<unknown>
  /** Is not ended before its time, because what it works on would be left half done: a package manager. */
  finishes: boolean
  /** How long it has to end in order; a command that only reads needs no time. 2 s unless said otherwise. */
  graceMs?: number | undefined
  /** The signal of the task that started it, where several run in one process. */
  scope?: AbortSignal | undefined
}

const running = new Set<RunningCommand>()
const endings: (() => Promise<void>)[] = []

/** Keeps a command in the list of those that run, until it has ended. */
export function track(command: RunningCommand): void {
  running.add(command)
  const remove = () => void running.delete(command)
  command.ended.then(remove, remove)
}

/** Ends what still runs of one task's commands, as endCommands does for all; what others run, and root's helper, stay. */
export async function endCommandsOf(scope: AbortSignal): Promise<void> {
  await Promise.all([...running].filter(command => !command.finishes && command.scope === scope).map(end))
}

/**
 * Ends every command that still runs, with its process group; for a task that failed or was interrupted. Resolves when they are gone, within 3 s.
 * A package manager is left to finish.
 */
export async function endCommands(): Promise<void> {
  await Promise.all([...running].filter(({ finishes }) => !finishes).map(end))
  await Promise.all(endings.splice(0).map(action => action()))
}

/** Has something done when all commands are ended: the process that ran root's goes then. */
export function onEnd(action: () => Promise<void>): void {
  endings.push(action)
}

/** SIGTERM to the group, SIGKILL after the grace; then its pipes are closed, which a process that left the group may still hold. */
export async function end(command: RunningCommand): Promise<void> {
  const { child, ended, graceMs: ownGraceMs = graceMs } = command
  const gone = ended.then(
    () => {},
    () => {},
  )
  if (!running.has(command)) return
  signalGroup(child, 'SIGTERM')
  if (await within(gone, child.exitCode === null && child.signalCode === null ? ownGraceMs : killedMs)) return
  signalGroup(child, 'SIGKILL')
  if (await within(gone, killedMs)) return
  for (const stream of [child.stdout, child.stderr]) (stream as Readable | null)?.destroy()
  await within(gone, killedMs)
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  // root's, which only its helper reaches; and pid 0 would be our own group
  if (!child.pid) return void child.kill(signal)
  if (sent(-child.pid, signal)) return
  // in our own group, for the terminal's sake: then its children one by one, which a shell does not pass a signal on to
  for (const { pid } of processesBelow(child.pid)) sent(pid, signal)
  child.kill(signal)
}

function sent(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}

async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>(resolve => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const isInTime = await Promise.race([promise.then(() => true), late])
  clearTimeout(timer)
  return isInTime
}
