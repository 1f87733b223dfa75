import { constants } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { $, type ProcessOutput, which } from 'zx/core'
import { PlatformError } from './errors.ts'

export interface RunOptions {
  /** Given to the command on standard input; secrets travel this way or in `env`, never as arguments. */
  input?: string | Buffer
  /** Added to the environment of this process. */
  env?: Record<string, string>
  cwd?: string
  /** The command is ended with SIGTERM after this many milliseconds. */
  timeoutMs?: number
  signal?: AbortSignal
  /** Called with each line of output as it comes. */
  onLine?: (line: string, stream: 'stdout' | 'stderr') => void
  /** The command uses our own terminal: for shells and followed logs. Nothing is captured then. */
  inherit?: boolean
}

export interface Result {
  /** null when a signal ended the command. */
  exitCode: number | null
  stdout: string
  stderr: string
}

/** How a command is run; modules take one as a parameter where their tests replace it. */
export type Runner = (command: readonly string[], options?: RunOptions) => Promise<Result>

/**
 * Runs a command whose non-zero exit is an answer, not a failure, and returns that answer.
 * Throws only when the command could not be asked at all: not installed, or out of time.
 */
export const ask: Runner = async (command, options = {}) => {
  const output = await start(command, options)
  const result = { exitCode: output.exitCode, stdout: output.stdout, stderr: output.stderr }
  // Ctrl-C ends the commands as well, and the news of that may be here before the signal itself
  if (result.exitCode === null || result.exitCode === exitCodeOfSignal('SIGINT')) await pause(200)
  if (result.exitCode === 127 && /(command not found|No such file or directory)/.test(result.stderr))
    throw missingTool(command)
  if (output.signal === 'SIGTERM' && options.timeoutMs) {
    throw new PlatformError(`\`${shown(command)}\` did not end within ${options.timeoutMs / 1000} s`, {
      why: lastLines(result.stderr),
    })
  }
  return result
}

/** Runs a command that has to succeed. Throws a PlatformError with the command and its own last words. */
export const run: Runner = async (command, options = {}) => {
  const result = await ask(command, options)
  if (result.exitCode !== 0) throw failure(command, result)
  return result
}

/** The error for a command that ended badly. */
export function failure(command: readonly string[], result: Result): PlatformError {
  const ended = result.exitCode === null ? 'was ended by a signal' : `failed with exit code ${result.exitCode}`
  return new PlatformError(`\`${shown(command)}\` ${ended}`, {
    why: lastLines(result.stderr) || lastLines(result.stdout),
  })
}

/** The last lines of a tool's output, for messages; empty for empty output. */
export function lastLines(text: string, count = 12): string {
  return text.trimEnd().split('\n').slice(-count).join('\n')
}

/** Whether a program is on PATH. */
export async function hasTool(name: string): Promise<boolean> {
  return (await which(name, { nothrow: true, path: $.env.PATH ?? '' })) !== null
}

/** A command as a person would type it. */
export function shown(command: readonly string[]): string {
  return command.map(word => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ')
}

/** The exit code a shell reports for a program that a signal ended. */
export function exitCodeOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal]
}

async function start(command: readonly string[], options: RunOptions): Promise<ProcessOutput> {
  const child = $({
    nothrow: true,
    // `$.env` is what this process was started with
    // a bash whose input is a socket, as Node's pipes are, takes itself for the remote end of a login unless another shell started it, and would
    // read the user's .bashrc before each command
    env: { SHLVL: '1', ...$.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.inherit ? { stdio: 'inherit' as const } : {}),
    // without `quiet`, zx prints stderr of commands by itself; verbose runs want just that
    quiet: !$.verbose,
  })`${command}`
  // a command may end without having read its input: its exit code and words tell what happened, not our writing
  if (options.input !== undefined) child.stdin.on('error', () => {})
  if (options.onLine) {
    eachLine(child.stdout, line => options.onLine?.(line, 'stdout'))
    eachLine(child.stderr, line => options.onLine?.(line, 'stderr'))
  }
  return child
}

function eachLine(stream: NodeJS.ReadableStream, report: (line: string) => void): void {
  let rest = ''
  stream.on('data', chunk => {
    const lines = (rest + chunk).split(/\r?\n|\r/)
    rest = lines.pop() ?? ''
    for (const line of lines) report(line)
  })
  stream.on('end', () => rest && report(rest))
}

function missingTool([name = '']: readonly string[]): PlatformError {
  return new PlatformError(`${name} is not installed, or not on PATH`, { hint: `Install ${name}, then run this again` })
}
