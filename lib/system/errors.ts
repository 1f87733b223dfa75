/** Exit codes every task uses; README.md documents them. */
export const ExitCode = {
  done: 0,
  failed: 1,
  badInput: 2,
  interrupted: 130,
  /** Whoever read the output has closed it; what a shell reports for SIGPIPE. */
  outputClosed: 141,
} as const

/** One thing that is wrong with what the user gave us: where it stands and what to write instead. */
export interface Problem {
  /** A setting's name, or `file:line`. */
  where: string
  what: string
}

export interface PlatformErrorOptions {
  /** Why it happened, in the tool's own words where there are any; may have several lines. */
  why?: string | undefined
  /** What to do next: a command or a setting. */
  hint?: string | undefined
  /** Commands that do it, shown as they are, so that they can be copied whole. */
  commands?: readonly string[]
  exitCode?: number
  cause?: unknown
}

/**
 * The one error class of the platform: an expected failure that is shown without a stack trace.
 * `message` says what happened and names the thing and its address.
 */
export class PlatformError extends Error {
  readonly why: string | undefined
  readonly hint: string | undefined
  readonly commands: readonly string[]
  readonly exitCode: number

  constructor(
    message: string,
    { why, hint, commands = [], exitCode = ExitCode.failed, cause }: PlatformErrorOptions = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'PlatformError'
    this.why = why
    this.hint = hint
    this.commands = commands
    this.exitCode = exitCode
  }
}

/** All problems of one input in one error, exit code 2. */
export function badInput(what: string, problems: readonly Problem[], hint?: string): PlatformError {
  return new PlatformError(what, {
    why: problems.map(problem => `${problem.where}: ${problem.what}`).join('\n'),
    hint,
    exitCode: ExitCode.badInput,
  })
}

/** The text of anything that was thrown, for use as the `why` of another error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The system's code of an error or of what caused it: ECONNREFUSED, ENOSPC, EPERM; undefined where there is none. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  return 'code' in error && typeof error.code === 'string' ? error.code : codeOf(error.cause)
}

/** How the system refuses a file, with what to do about it. */
const refusals: Readonly<Record<string, [what: string, hint: (path: string) => string]>> = {
  EPERM: ['Not permitted', path => `ls -ld ${path}; lsattr -d ${path}`],
  EACCES: ['Permission denied', path => `ls -ld ${path}`],
  EROFS: ['Read-only file system', path => `That file system is mounted read-only: findmnt --target ${path}`],
  ENOSPC: ['No space left', path => `Make room on that file system: df -h ${path}`],
  EDQUOT: ['The disk quota is used up', path => `Make room on that file system: df -h ${path}`],
  EMFILE: ['Too many open files', () => 'ulimit -n'],
  EIO: ['The disk does not work', () => 'sudo dmesg | tail'],
  ELOOP: ['A symbolic link points to itself', path => `ls -ld ${path}`],
  ENOTDIR: ['Not a directory', path => `ls -ld ${path}`],
  EISDIR: ['Is a directory', path => `ls -ld ${path}`],
}

/** The error for a file operation that the system refused; undefined for errors of another kind. */
export function refusedBySystem(error: unknown): PlatformError | undefined {
  const [what, hint] = refusals[codeOf(error) ?? ''] ?? []
  if (what === undefined || !(error instanceof Error)) return undefined
  const path = 'path' in error && typeof error.path === 'string' ? error.path : undefined
  return new PlatformError(path === undefined ? what : `${what}: ${path}`, {
    why: error.message,
    hint: hint?.(path ?? '.'),
    cause: error,
  })
}
