import { AsyncLocalStorage } from 'node:async_hooks'
import { userInfo } from 'node:os'
import { PlatformError } from './errors.ts'
import { $, type CommandOptions, hasTool, type Shell, shellWith } from './exec.ts'
import { startRootHelper } from './root-shell.ts'
import { onEnd } from './running.ts'

/** The way commands run as root on this machine. */
export interface Privilege {
  /** Runs commands as root. Their environment is root's, with what the call's `env` adds. */
  $: Shell
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
  /** Keeps everything else off the terminal while a password is typed. */
  alone?: <T>(action: () => Promise<T>) => Promise<T>
}

/** Root as it is: for processes that run as root already. */
export const asRoot: Privilege = { $ }

/** Whether this process is root itself. */
export function isRoot(): boolean {
  return userInfo().uid === 0
}

/** Root as it was acquired before in this process, or is being acquired. */
let acquired: Privilege | undefined
let acquiring: Promise<Privilege> | undefined

const rehearsal = new AsyncLocalStorage<string[][]>()

/** What previews in an action would need root for, by their own `noteNeed`: the commands, as a person would type them. */
export async function needsIn(action: () => Promise<unknown>): Promise<string[]> {
  const needs: string[][] = []
  await rehearsal.run(needs, action)
  return [...new Set(needs.flat())]
}

/** Notes what a preview would need root for, where somebody wants to know. */
export function noteNeed(commands: readonly string[]): void {
  rehearsal.getStore()?.push([...commands])
}

/**
 * Root through what the machine offers: this process itself, sudo, or doas. Prompts for a password at most once in the life of this process, at a
 * terminal only; what is refused is not tried again by another program. Throws with the list of commands where root cannot be had, instead of
 * waiting for a password nobody types.
 */
export async function acquireRoot(need: PrivilegeNeed): Promise<Privilege> {
  if (isRoot()) return asRoot
  if (acquired !== undefined) return acquired
  // of several that need it at once, one prompts for all
  acquiring ??= request(need).finally(() => {
    acquiring = undefined
  })
  return acquiring
}

async function request(need: PrivilegeNeed): Promise<Privilege> {
  const { alone = action => action() } = need
  const tools: string[] = []
  for (const tool of ['sudo', 'doas']) if (await hasTool(tool)) tools.push(tool)
  let why = tools.length === 0 ? 'Neither sudo nor doas is installed' : ''
  for (const tool of tools) {
    const started = await startRootHelper(tool, silently(tool), false)
    if (typeof started === 'function') return keep(started)
    why ||= started.refused
  }
  const [tool] = tools
  if (need.interactive && tool !== undefined) {
    need.say(`${tool} is needed to ${need.reason}`)
    const started = await alone(() => startRootHelper(tool, openly(tool), true))
    if (typeof started === 'function') return keep(started)
    why = `${tool} did not let this user become root`
  } else if (tool !== undefined) {
    why = `There is no terminal to prompt for a password, and ${tool} wants one${why === '' ? '' : `: ${why}`}`
  }
  throw new PlatformError(`Root is needed to ${need.reason}`, {
    why,
    hint:
      need.commands.length === 0
        ? 'Run this again as root, with sudo in front'
        : 'Run this again as root. Or run these commands as root, then this again; `task teardown` will leave alone what you did by hand:',
    commands: need.commands,
  })
}

function silently(tool: string): string[] {
  return tool === 'sudo' ? ['-n', '--'] : ['-n']
}

function openly(tool: string): string[] {
  return tool === 'sudo' ? ['--'] : []
}

function keep(spawn: NonNullable<CommandOptions['spawn']>): Privilege {
  // the helper ends with the commands of a task, and is not there for the next
  onEnd(async () => {
    acquired = undefined
  })
  acquired = { $: shellWith({ spawn }) }
  return acquired
}
