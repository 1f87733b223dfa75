import type { PlatformError } from '../../lib/system/errors.ts'
import { $, type CommandOptions, commandLine, failureOf, type Result } from '../../lib/system/exec.ts'

// Commands that are data: tests build many of theirs from arrays. Production code writes templates.

export interface RunOptions extends Omit<CommandOptions, 'timeout' | 'nothrow'> {
  /** No deadline unless one is given: some tests wait for a compiler. */
  timeoutMs?: number
}

export type Runner = (command: readonly string[], options?: RunOptions) => Promise<Result>

/** Runs a command; any exit code is an answer. */
export const ask: Runner = async (command, { timeoutMs, ...options } = {}) =>
  $({ ...options, timeout: timeoutMs ?? 0, nothrow: true })`${command}`

/** Runs a command, and throws where it fails. */
export const run: Runner = async (command, { timeoutMs, ...options } = {}) =>
  $({ ...options, timeout: timeoutMs ?? 0 })`${command}`

export function failure(command: readonly string[], result: Result): PlatformError {
  return failureOf(commandLine(command), result)
}
