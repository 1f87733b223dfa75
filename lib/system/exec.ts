import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { type Options, type ProcessOutput, type ProcessPromise, which, $ as zx } from 'zx/core'
import { PlatformError } from './errors.ts'

type Duration = NonNullable<Options['timeout']>

export interface CommandOptions {
  /** Written to the command's standard input; secrets travel this way or in `env`, never as arguments. Without it the input is empty. */
  input?: string | Buffer | undefined
  /** Added to the environment of this process. */
  env?: Record<string, string> | undefined
  cwd?: string | undefined
  /** The deadline, 60 s unless said otherwise; 0 means none, for what a person ends: a shell, a followed log. */
  timeout?: Duration | undefined
  /** Ends the command when it has printed nothing for this long; for downloads and builds, whose length nobody knows. Replaces the deadline unless one is given. */
  idle?: Duration | undefined
  signal?: AbortSignal | undefined
  /** A non-zero exit is an answer: the output is returned whatever the exit code. Not installed and out of time still throw. */
  nothrow?: boolean
  /** The command uses our own terminal and its foreground process group: for shells, prompts, followed logs. Nothing is captured. */
  inherit?: boolean
  /** Called with each line of output as it comes. */
  onLine?: ((line: string, stream: 'stdout' | 'stderr') => void) | undefined
  /** Starts the process; how root's commands get to the helper that runs them. */
  spawn?: Options['spawn'] | undefined
}

/** A running command: await it for its output, or use zx's `.text()`, `.json()`, `.lines()`, or `for await` for its lines as they come. */
export type Command = ProcessPromise

/** How commands are run: a template whose values are quoted, or options first. Modules take one as a parameter where it may be root's, or a test's. */
export interface Shell {
  (pieces: TemplateStringsArray, ...values: unknown[]): Command
  (options: CommandOptions): (pieces: TemplateStringsArray, ...values: unknown[]) => Command
}

/** No command of ours runs for longer unless its call says so: each asks something local, and the slowest (a container that is stopped) is given 10 s by Docker. */
const defaultTimeout = '60s'
/** How long a command that was told to end has for it, before SIGKILL. */
const graceMs = 2000

/** Every command that runs now; what cli/launch.mjs ends when the task is over or interrupted. */
const running = new Set<Command>()

/**
 * Runs a command: `` await $`docker compose --file ${file} up --detach` ``. Each value becomes one word, an array one word for each item.
 * The command has a process group of its own, an empty standard input and a deadline; at its end the whole group gets SIGTERM, and SIGKILL after 2 s.
 * Throws a PlatformError with the command and its own last words when it fails, is not installed, or does not end in time.
 */
export const $: Shell = shellWith({})

/** A `$` with options that every call starts from. */
export function shellWith(preset: CommandOptions): Shell {
  return ((first: TemplateStringsArray | CommandOptions, ...values: unknown[]) =>
    isTemplate(first)
      ? start(preset, first, values)
      : (pieces: TemplateStringsArray, ...more: unknown[]) => start({ ...preset, ...first }, pieces, more)) as Shell
}

/** Ends every command that still runs, with its process group; for a task that failed or was interrupted. Resolves when they are gone, or after 3 s. */
export async function endCommands(): Promise<void> {
  await Promise.all([...running].map(end))
}

/** The error for a command that ended badly. */
export function failureOf(command: string, { exitCode, signal, stdout, stderr, cause }: Result): PlatformError {
  if (cause instanceof Error)
    return new PlatformError(redacted(`\`${command}\` could not be started`), { why: cause.message, cause })
  const ended = exitCode === null ? `was ended by ${signal ?? 'a signal'}` : `failed with exit code ${exitCode}`
  return new PlatformError(redacted(`\`${command}\` ${ended}`), {
    why: redacted(lastLines(stderr) || lastLines(stdout)),
  })
}

/** What a command that ended has said. */
export interface Result {
  /** null when a signal ended the command. */
  exitCode: number | null
  signal?: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Why it could not be started, where it could not. */
  cause?: unknown
}

/** The last lines of a tool's output, for messages; empty for empty output. */
export function lastLines(text: string, count = 12): string {
  return text.trimEnd().split('\n').slice(-count).join('\n')
}

/** Whether a program is on PATH. */
export async function hasTool(name: string): Promise<boolean> {
  return (await which(name, { nothrow: true, path: zx.env.PATH ?? '' })) !== null
}

/** One word as every POSIX shell reads it back; zx's own quoting needs bash. Plain words stay as they are. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/**
 * A command template as an array of arguments, for commands that are data: recorded for later, or compared with what a process runs.
 * Spaces of the text separate; a value never does, and an array is one argument for each item.
 */
export function args(pieces: TemplateStringsArray, ...values: unknown[]): string[] {
  const boundary = Symbol('between two arguments')
  const parts = pieces.flatMap((piece, index) => {
    const text = piece.split(/(\s+)/).map(part => (/^\s/.test(part) ? boundary : part))
    const value = index < values.length ? [values[index]].flat().flatMap(item => [boundary, String(item)]) : []
    return [...text.filter(part => part !== ''), ...value.slice(1)]
  })
  const found: (string | undefined)[] = [undefined]
  for (const part of parts) {
    if (part === boundary) found.push(undefined)
    else found.push((found.pop() ?? '') + String(part))
  }
  return found.filter(argument => argument !== undefined)
}

/** A command as a person would type it. */
export function commandLine(words: readonly string[]): string {
  return words.map(quote).join(' ')
}

/** The exit code a shell reports for a program that a signal ended. */
export function exitCodeOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal]
}

const secrets = new Set<string>()

/** Replaces these values by *** in every message and verbose log from now on. */
export function hideInMessages(values: readonly string[]): void {
  // a shorter one would blacken words that are no secrets
  for (const value of values) if (value.length >= 5) secrets.add(value)
}

/** A text without the secrets that are known. */
export function redacted(text: string): string {
  let shown = text
  for (const secret of secrets) shown = shown.replaceAll(secret, '***')
  return shown
}

function isTemplate(first: TemplateStringsArray | CommandOptions): first is TemplateStringsArray {
  return Array.isArray(first)
}

function start(options: CommandOptions, pieces: TemplateStringsArray, values: unknown[]): Command {
  const { log, verbose } = zx
  const command = zx({
    // a shell that every machine has; nothing of it may come from ZX_* variables
    shell: '/bin/sh',
    prefix: '',
    postfix: '',
    quote,
    nothrow: true,
    preferLocal: false,
    env: { ...zx.env, ...options.env },
    stdio: options.inherit ? 'inherit' : [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    // a group of its own can be ended as a whole; what uses the terminal has to stay in the foreground group
    detached: !options.inherit,
    // zx prints stderr of commands unless it is quiet; verbose runs want just that
    quiet: !verbose,
    log: entry => log(redactedEntry(entry)),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.spawn === undefined ? {} : { spawn: options.spawn }),
  })(pieces, ...values)
  const limits = watch(command, options)
  running.add(command)
  // a command may end without having read its input: its exit code and words tell what happened, not our writing
  command.child?.stdin?.on('error', () => {})
  if (options.onLine) {
    eachLine(command.child?.stdout, line => options.onLine?.(line, 'stdout'))
    eachLine(command.child?.stderr, line => options.onLine?.(line, 'stderr'))
  }
  let nothrow = options.nothrow === true
  command.nothrow = (value = true) => {
    nothrow = value
    return command
  }
  const settled = Promise.prototype.then.call(
    command,
    (output: ProcessOutput) => {
      limits.done()
      running.delete(command)
      return output
    },
    error => {
      limits.done()
      running.delete(command)
      throw error
    },
  ) as Promise<ProcessOutput>
  settled.catch(() => {})
  const checked = () =>
    settled.then(output => {
      if (limits.broken !== undefined) throw limits.broken(output)
      if (output.exitCode === 127 && /not found|No such file/.test(output.stderr)) throw missingTool(command.cmd)
      if (output.exitCode !== 0 && !nothrow) throw failureOf(command.cmd, output)
      return output
    })
  // biome-ignore lint/suspicious/noThenProperty: a promise already; its errors become ours
  command.then = ((done, failed) => checked().then(done, failed)) as Command['then']
  return command
}

/** Ends a command at its deadline, when it falls silent, or when its signal says so. */
function watch(command: Command, options: CommandOptions) {
  const idleMs = millisecondsOf(options.idle)
  const timeoutMs = millisecondsOf(options.timeout ?? (idleMs > 0 || options.inherit ? 0 : defaultTimeout))
  const limits: { broken?: (output: ProcessOutput) => PlatformError; done: () => void } = { done: () => {} }
  const breakOff = (what: string) => {
    limits.broken ??= output =>
      new PlatformError(redacted(`\`${command.cmd}\` ${what}`), { why: redacted(lastLines(output.stderr)) })
    void end(command)
  }
  const deadline =
    timeoutMs > 0 ? setTimeout(() => breakOff(`did not end within ${timeoutMs / 1000} s`), timeoutMs) : undefined
  const silent = () => breakOff(`printed nothing for ${idleMs / 1000} s`)
  let silence = idleMs > 0 ? setTimeout(silent, idleMs) : undefined
  const sign = () => {
    clearTimeout(silence)
    silence = setTimeout(silent, idleMs)
  }
  if (idleMs > 0) for (const stream of [command.child?.stdout, command.child?.stderr]) stream?.on('data', sign)
  const aborted = () => breakOff('was ended, because what it was needed for had failed')
  if (options.signal?.aborted) aborted()
  options.signal?.addEventListener('abort', aborted, { once: true })
  limits.done = () => {
    clearTimeout(deadline)
    clearTimeout(silence)
    options.signal?.removeEventListener('abort', aborted)
  }
  return limits
}

/** SIGTERM to the group, SIGKILL after the grace; then its pipes are closed, which a process that left the group may still hold. */
async function end({ child }: Command): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise<void>(resolve => child.once('close', () => resolve()))
  signalGroup(child, 'SIGTERM')
  if (await withinMs(gone, graceMs)) return
  signalGroup(child, 'SIGKILL')
  if (await withinMs(gone, 500)) return
  child.stdout?.destroy()
  child.stderr?.destroy()
  await withinMs(gone, 500)
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    // pid 0 would be our own group
    if (child.pid) process.kill(-child.pid, signal)
    else child.kill(signal)
  } catch {
    child.kill(signal) // in our own group, or gone
  }
}

async function withinMs(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>(resolve => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const isInTime = await Promise.race([promise.then(() => true), late])
  clearTimeout(timer)
  return isInTime
}

function millisecondsOf(duration: Duration | undefined): number {
  if (duration === undefined) return 0
  const [, count, unit = 'ms'] = /^([\d.]+)(ms|s|m)?$/.exec(String(duration)) ?? []
  return Number(count) * { ms: 1, s: 1000, m: 60_000 }[unit as 'ms' | 's' | 'm']
}

function redactedEntry(entry: Parameters<Options['log']>[0]): Parameters<Options['log']>[0] {
  if (entry.kind === 'cmd') return { ...entry, cmd: redacted(entry.cmd) }
  if (entry.kind === 'stdout' || entry.kind === 'stderr')
    return { ...entry, data: Buffer.from(redacted(String(entry.data))) }
  return entry
}

function eachLine(stream: Readable | null | undefined, report: (line: string) => void): void {
  let rest = ''
  stream?.on('data', chunk => {
    const lines = (rest + chunk).split(/\r?\n|\r/)
    rest = lines.pop() ?? ''
    for (const line of lines) report(line)
  })
  stream?.on('end', () => rest && report(rest))
}

function missingTool(command: string): PlatformError {
  const name = command.replace(/^(?:\w+=\S+ +)+/, '').split(/\s/, 1)[0] ?? ''
  return new PlatformError(`${name} is not installed, or not on PATH`, { hint: `Install ${name}, then run this again` })
}

// The array form from before; goes when no call site is left.

export interface RunOptions extends Omit<CommandOptions, 'timeout' | 'nothrow'> {
  timeoutMs?: number
}

/** How a command is run; modules take one as a parameter where their tests replace it. */
export type Runner = (command: readonly string[], options?: RunOptions) => Promise<Result>

export const ask: Runner = async (command, { timeoutMs, ...options } = {}) =>
  $({ ...options, timeout: timeoutMs ?? 0, nothrow: true })`${command}`

export const run: Runner = async (command, { timeoutMs, ...options } = {}) =>
  $({ ...options, timeout: timeoutMs ?? 0 })`${command}`

export function failure(command: readonly string[], result: Result): PlatformError {
  return failureOf(commandLine(command), result)
}

export { commandLine as shown }
