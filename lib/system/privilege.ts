import { type SpawnOptions, spawn } from 'node:child_process'
import { userInfo } from 'node:os'
import { PlatformError } from './errors.ts'
import { $, ask, type CommandOptions, hasTool, type Runner, run, type Shell, shellWith } from './exec.ts'

/** The way commands run as root on this machine; environment variables of a call do not pass through sudo. */
export interface Privilege {
  /** Runs commands as root. Their environment is root's, with what the call's `env` adds. */
  $: Shell
  run: Runner
  ask: Runner
}

export interface PrivilegeNeed {
  /** Completes 'sudo is needed to …'. */
  reason: string
  /** What would be run, as a person would type it; shown where root cannot be had. Empty where that is more than a list. */
  commands: readonly string[]
  /** Whether someone can type a password. */
  interactive: boolean
  /** Told the reason before the password prompt appears. */
  say: (text: string) => void
}

/** Root as it is: for processes that run as root already. */
export const asRoot: Privilege = { $, run, ask }

/** Whether this process is root itself. */
export function isRoot(): boolean {
  return userInfo().uid === 0
}

/**
 * Root through what the machine offers: this process itself, sudo, or doas. Asks for a password once, at a terminal only.
 * Throws with the list of commands where root cannot be had, instead of waiting for a password nobody types.
 */
export async function acquireRoot(need: PrivilegeNeed): Promise<Privilege> {
  if (isRoot()) return asRoot
  for (const tool of ['sudo', 'doas']) {
    if (!(await hasTool(tool))) continue
    const silent = [tool, '-n', ...(tool === 'sudo' ? ['--'] : [])]
    if ((await ask([...silent, 'true'])).exitCode === 0) return through(silent)
    if (!need.interactive) continue
    need.say(`${tool} is needed to ${need.reason}`)
    // one password for the whole run: sudo remembers it for this terminal
    const { exitCode } = await ask(tool === 'sudo' ? ['sudo', '-v'] : ['doas', 'true'], { inherit: true })
    if (exitCode === 0 && (await ask([...silent, 'true'])).exitCode === 0) return through(silent)
  }
  throw new PlatformError(`Root is needed to ${need.reason}`, {
    why: need.interactive
      ? 'Neither sudo nor doas let this user become root'
      : 'There is no terminal to ask for a password, and sudo wants one',
    hint:
      need.commands.length === 0
        ? 'Run this again as root, with sudo in front'
        : 'Run this again as root. Or run these commands as root, then this again; `task teardown` will leave alone what you did by hand:',
    commands: need.commands,
  })
}

function through(prefix: readonly string[]): Privilege {
  return {
    $: shellWith({ spawn: spawnWith(prefix) }),
    run: (command, options) => run([...prefix, ...command], options),
    ask: (command, options) => ask([...prefix, ...command], options),
  }
}

/** Starts a shell command as root: what the `spawn` option of `$` is for. */
function spawnWith([program = 'sudo', ...args]: readonly string[]): NonNullable<CommandOptions['spawn']> {
  const start = (command: string, _: readonly string[], { shell, ...options }: SpawnOptions) =>
    spawn(program, [...args, String(shell), '-c', command], { ...options, env: { ...process.env, ...options.env } })
  return start as NonNullable<CommandOptions['spawn']>
}
