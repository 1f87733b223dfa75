import { Readable } from 'node:stream'
import { type Options, type ProcessOutput, type ProcessPromise, which, $ as zx } from 'zx/core'
import { cancelScope, cancelSignal } from './cancel.ts'
import { codeOf, messageOf, PlatformError } from './errors.ts'
import { end, type RunningCommand, track } from './running.ts'
import { redacted, redacting } from './secrets.ts'
import { type Duration, millisecondsOf, type ProgressLimit, watchProgress } from './stall.ts'

export interface CommandOptions extends ProgressLimit {
  /** Written to the command's standard input; secrets travel this way or in `env`, never as arguments. Without it the input is empty. */
  input?: string | Buffer | Readable | undefined
  /** Added to the environment of this process. */
  env?: Record<string, string> | undefined
  cwd?: string | undefined
  /** The deadline, 60 s unless said otherwise; 0 means none, for what a person ends: a shell, a followed log. */
  timeout?: Duration | undefined
  signal?: AbortSignal | undefined
  /** A non-zero exit is an answer: the output is returned whatever the exit code. Not installed, not to be started and out of time still throw. */
  nothrow?: boolean
  /** The command uses our own terminal and its foreground process group: for shells, prompts, followed logs. Nothing is captured. */
  inherit?: boolean
  /** Called with each line of output as it comes. */
  onLine?: ((line: string, stream: 'stdout' | 'stderr') => void) | undefined
  /** How long it has to end in order when its time is over, before SIGKILL; 2 s unless said otherwise. */
  graceMs?: number
  /** It is never ended before its deadline, also when the task fails: a package manager would leave packages half installed. */
  finishes?: boolean
  /** Starts the process; how root's commands get to the helper that runs them. The environment there is another one, to which `env` is added. */
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
  return (await toolPath(name)) !== undefined
}

/** The path of the program that a command of this name runs; undefined where it is not on PATH. */
export async function toolPath(name: string): Promise<string | undefined> {
  return (await which(name, { nothrow: true, path: zx.env.PATH ?? '' })) ?? undefined
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

function isTemplate(first: TemplateStringsArray | CommandOptions): first is TemplateStringsArray {
  return Array.isArray(first)
}

function start(options: CommandOptions, pieces: TemplateStringsArray, values: unknown[]): Command {
  // it would reach the command as the word `undefined`
  if (values.some(value => value === undefined || value === null))
    throw new TypeError(`A value is missing in the command ${pieces.join('…')}`)
  const { log, verbose } = zx
  const signal = cancelSignal(options.signal)
  const run = zx({
    // a shell that every machine has; nothing of it may come from ZX_* variables
    shell: '/bin/sh',
    prefix: '',
    postfix: '',
    quote,
    nothrow: true,
    preferLocal: false,
    env: options.spawn ? (options.env ?? {}) : { ...zx.env, ...options.env },
    stdio: options.inherit ? 'inherit' : [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    // a group of its own can be ended as a whole; what uses the terminal has to stay in the foreground group
    detached: !options.inherit,
    // zx prints stderr of commands unless it is quiet; verbose runs want just that
    quiet: !verbose,
    log: redacting(log),
    // the deadline is ours, and there is no folder but the one that is named here
    timeout: 0,
    cwd: options.cwd ?? '',
    halt: signal?.aborted === true,
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.spawn === undefined ? {} : { spawn: elsewhere(options.spawn, options.finishes === true) }),
  })
  const command = withoutStacks(() => run(pieces, ...values))
  const outcome = signal?.aborted ? undefined : follow(command, options, signal)
  let nothrow = options.nothrow === true
  const checked = async () => {
    const output = await outcome
    if (output === undefined) throw cancelled(command.cmd)
    if (output.exitCode === 127) requireTool(command.cmd, { ...zx.env, ...options.env })
    if (codeOf(output.cause) === 'ENOENT' && options.cwd !== undefined) throw missingFolder(command.cmd, options.cwd)
    if ((output.exitCode !== 0 && !nothrow) || output.cause instanceof Error) throw failureOf(command.cmd, output)
    return output
  }
  // biome-ignore lint/suspicious/noThenProperty: a promise already; its errors become ours
  command.then = ((done, failed) => checked().then(done, failed)) as Command['then']
  command.nothrow = (value = true) => {
    nothrow = value
    return command
  }
  command.json = async <T>() => {
    const { stdout } = await checked()
    try {
      return JSON.parse(stdout) as T
    } catch (error) {
      throw new PlatformError(redacted(`\`${command.cmd}\` printed something that is not JSON`), {
        why: redacted(`${messageOf(error)}\n${lastLines(stdout)}`),
        cause: error,
      })
    }
  }
  return command
}

/**
 * zx looks up which line of code gives each command, for messages that are not ours; by source maps that takes 20 ms the first time, and 1 ms each
 * time after.
 */
function withoutStacks<T>(call: () => T): T {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return call()
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** The helper that runs a command has to know, too, that it must finish: it may outlive us. */
function elsewhere(spawn: Options['spawn'], finishes: boolean): Options['spawn'] {
  return ((command: string, args: string[], options: object) =>
    (spawn as (...given: unknown[]) => unknown)(command, args, { ...options, finishes })) as Options['spawn']
}

/** What a started command says and how it ends; rejects where one of its limits ended it. */
function follow(command: Command, options: CommandOptions, signal: AbortSignal | undefined): Promise<ProcessOutput> {
  const { child } = command
  const ended = Promise.prototype.then.call(command, output => output) as Promise<ProcessOutput>
  if (child === undefined) return ended // it could not be started, which its output says
  // a command may end without having read its input: its exit code and words tell what happened, not our writing
  child.stdin?.on('error', () => {})
  if (options.onLine) {
    eachLine(child.stdout, line => options.onLine?.(line, 'stdout'))
    eachLine(child.stderr, line => options.onLine?.(line, 'stderr'))
  }
  const running = { child, ended, finishes: options.finishes === true, graceMs: options.graceMs, scope: cancelScope() }
  track(running)
  const limits = watch(command, running, options, signal)
  const over = () => {
    limits.done()
    if (options.input instanceof Readable) options.input.destroy()
  }
  const outcome = ended.finally(over).then(output => {
    if (limits.broken !== undefined) throw limits.broken(output)
    return output
  })
  // whoever awaits the command hears of it; one that nobody awaits must not end us
  outcome.catch(() => {})
  return outcome
}

/** Ends a command at its deadline, when it stalls, or when its signal says so. */
function watch(command: Command, running: RunningCommand, options: CommandOptions, signal: AbortSignal | undefined) {
  const timeoutMs = millisecondsOf(options.timeout ?? (options.idle || options.inherit ? 0 : defaultTimeout))
  const limits: { broken?: (output: ProcessOutput) => PlatformError; done: () => void } = { done: () => {} }
  const breakOff = (error: (output: ProcessOutput) => PlatformError) => {
    limits.broken ??= error
    void end(running)
  }
  const late = (what: string) =>
    breakOff(
      ({ stderr }) => new PlatformError(redacted(`\`${command.cmd}\` ${what}`), { why: redacted(lastLines(stderr)) }),
    )
  const deadline =
    timeoutMs > 0 ? setTimeout(() => late(`did not end within ${timeoutMs / 1000} s`), timeoutMs) : undefined
  const stopWatching = watchProgress(command.child, options, seconds => late(`made no progress for ${seconds} s`))
  const aborted = () => {
    if (!options.finishes) breakOff(() => cancelled(command.cmd))
  }
  signal?.addEventListener('abort', aborted, { once: true })
  limits.done = () => {
    clearTimeout(deadline)
    stopWatching()
    signal?.removeEventListener('abort', aborted)
  }
  return limits
}

function cancelled(command: string): PlatformError {
  return new PlatformError(redacted(`\`${command}\` was cancelled`))
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

// the shell is there on every machine
function missingFolder(command: string, folder: string): PlatformError {
  return new PlatformError(redacted(`\`${command}\` could not be started`), {
    why: `The folder ${folder} does not exist`,
  })
}

/** Throws where a shell's exit code 127 means that it did not find the command's program. */
function requireTool(command: string, env: NodeJS.ProcessEnv): void {
  const name = /^(?:\w+=\S* +)*(?:exec +)?([\w@%+:,./-]+)/.exec(command)?.[1]
  // the command itself may exit with 127, too: `docker exec` does for a program that the container has not
  if (name === undefined || which.sync(name, { nothrow: true, path: env.PATH ?? '' }) !== null) return
  throw new PlatformError(`${name} is not installed, or not on PATH`, { hint: `Install ${name}, then run this again` })
}
