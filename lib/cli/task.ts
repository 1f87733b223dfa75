import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { $, within } from 'zx/core'
import { acquireLock, type Release } from '../platform/lock.ts'
import { pathsOf, toolsFolder } from '../platform/settings.ts'
import { cancelledBy } from '../system/cancel.ts'
import { root } from '../system/checkout.ts'
import { badInput, ExitCode, messageOf, PlatformError, refusedBySystem } from '../system/errors.ts'
import { endCommands, endCommandsOf } from '../system/running.ts'
import type { Board } from './board.ts'
import { isStartedDirectly } from './invocation.mjs'
import type { Output } from './output.ts'

/** One option of a task, as node:util parseArgs knows it, with its line of help. */
export interface OptionDefinition {
  type: 'boolean' | 'string'
  short?: string
  help: string
  /** Name of the value in the help text, for options that take one. */
  value?: string
  /** With it the task changes nothing, and waits for no other that does. */
  onlyLooks?: true
}

export type Options = Record<string, OptionDefinition>

export type OptionValues<O extends Options> = {
  [K in keyof O]?: O[K]['type'] extends 'boolean' ? boolean : string
}

export interface TaskContext<O extends Options = Options> {
  options: OptionValues<O>
  /** `--yes`: prompts are answered with yes. */
  yes: boolean
  /** Arguments that are not options; a task without `positionals` refuses them. */
  positionals: readonly string[]
  /** The environment this run was started with. */
  environment: NodeJS.ProcessEnv
  out: Output
  /** Registers clean-up for an interrupted run; the process ends when it is done. */
  onInterrupt: (action: () => Promise<void>) => void
  /** For a task that runs others at once: `--verbose` runs them one at a time, because what commands print is not kept apart. */
  verbose: boolean
  createBoard: () => Promise<Board>
  /** Runs another task with these arguments in this process, and returns its exit code; it has said itself why it failed. */
  runOther: (
    script: string,
    args: readonly string[],
    own: { out: Output; cancellation: AbortController },
  ) => Promise<number>
}

export interface TaskDefinition<O extends Options = Options> {
  name: string
  /** One line, the same as the Taskfile's `desc`. */
  summary: string
  /** The documented shell script this task replaces. */
  replaces?: string
  /** What it leaves on the machine: files, containers, processes, DNS. Empty for tasks that only read. */
  leaves: readonly string[]
  /** What undoes it; empty for tasks that only read. */
  undo: string
  options: O
  /** The positional arguments of the usage line, e.g. `[SERVICE…]`; without it they are refused. */
  positionals?: string
  /** False for a task that changes nothing of this installation, whatever it leaves elsewhere. */
  locks?: false
  /** A number is the exit code of the run, for tasks that return another program's. */
  run(context: TaskContext<O>): Promise<void> | Promise<number>
}

/** How long a task waits for another one that changes the same installation; most are done by then. */
const lockWaitMs = 10_000

/** Options of every task, so that `task setup -- --yes` can pass them to each of its steps. */
const commonOptions = {
  help: { type: 'boolean', short: 'h', help: 'show this text' },
  yes: { type: 'boolean', short: 'y', help: 'do not prompt; accept what is offered' },
  wait: { type: 'boolean', help: 'wait for another task that changes this installation, however long it takes' },
  verbose: { type: 'boolean', short: 'v', help: 'show the commands that are run, and their output' },
} as const satisfies Options

/** Gives a task its types; the default export of each `tasks/<name>.ts`. Where that script is what was started (`npx tsx tasks/<name>.ts`), the launcher runs it. */
export function defineTask<const O extends Options>(definition: TaskDefinition<O>): TaskDefinition<O> {
  if (isStartedDirectly(definition.name))
    setImmediate(() => import(pathToFileURL(join(root, 'lib/cli/launch.mjs')).href))
  return definition
}

/**
 * Runs a task with command line arguments and returns its exit code (errors.ts lists them). The only place where errors are rendered:
 * a PlatformError as what, why and what to do next; anything else is an internal error and keeps its stack.
 */
export async function runTask(
  task: TaskDefinition,
  args: readonly string[],
  surroundings: {
    environment: NodeJS.ProcessEnv
    createOutput: (verbose: boolean) => Promise<Output>
    showHelp: (text: string) => void
    onInterrupt?: (action: () => Promise<void>) => void
    /** The process whose tasks run one after the other, and share the lock; undefined for a task by itself. */
    workflow?: number | undefined
    /** Ends what the task runs, when it fails and when the process is interrupted. */
    cancellation?: AbortController
    /** Resolves when no process of ours is left. */
    endProcesses?: () => Promise<void>
    /** For a task that runs others. */
    loadTask?: (script: string) => Promise<TaskDefinition>
    createBoard?: (verbose: boolean) => Promise<Board>
  },
): Promise<number> {
  const parsed = parse(task, args)
  if (!(parsed instanceof PlatformError) && parsed.help) {
    surroundings.showHelp(helpText(task))
    return ExitCode.done
  }
  const out = await surroundings.createOutput(!(parsed instanceof PlatformError) && parsed.verbose)
  const { cancellation = new AbortController(), endProcesses = endCommands } = surroundings
  const run = async (parsed: Parsed) =>
    within(async () => {
      $.verbose = parsed.verbose
      $.env = { ...$.env, PATH: [toolsFolder(pathsOf(surroundings.environment)), $.env.PATH].join(delimiter) }
      return task.run({
        options: parsed.options,
        yes: parsed.yes,
        positionals: parsed.positionals,
        environment: surroundings.environment,
        out,
        onInterrupt: surroundings.onInterrupt ?? (() => {}),
        verbose: parsed.verbose,
        createBoard: async () => surroundings.createBoard!(parsed.verbose),
        runOther: async (script, args, own) =>
          runTask(await surroundings.loadTask!(script), args, {
            ...surroundings,
            createOutput: async () => own.out,
            cancellation: own.cancellation,
            // the commands of other tasks go on
            endProcesses: () => endCommandsOf(own.cancellation.signal),
          }),
      })
    })
  let release: Release = async () => {}
  try {
    if (parsed instanceof PlatformError) throw parsed
    if (changesInstallation(task, parsed))
      release = await cancelledBy(cancellation.signal, () =>
        acquireLock(pathsOf(surroundings.environment).stateDir, {
          task: task.name,
          workflow: surroundings.workflow,
          waitMs: parsed.wait ? 0 : lockWaitMs,
          onWait: holder => out.say(`Waiting for ${holder}, which changes this installation`),
        }),
      )
    return (await cancelledBy(cancellation.signal, () => run(parsed))) ?? ExitCode.done
  } catch (error) {
    // whoever reads the error may start the next command at once: nothing of what ran beside the failed step is left by then
    cancellation.abort()
    await endProcesses()
    const shown = expectedError(error, task.name)
    out.error(shown)
    return shown.exitCode
  } finally {
    // a ticket that cannot be removed is as good as none once we have ended
    await release().catch(() => {})
  }
}

function changesInstallation(task: TaskDefinition, { options }: Parsed): boolean {
  return mayLock(task) && !Object.entries(task.options).some(([name, { onlyLooks }]) => onlyLooks && options[name])
}

function mayLock({ leaves, locks }: TaskDefinition): boolean {
  return leaves.length > 0 && locks !== false
}

/** Those of the common options that do something for this task. All take all of them: the steps of a workflow are given the same. */
function usefulOptions(task: TaskDefinition): Options {
  const { help, yes, wait, verbose } = commonOptions
  return { help, ...(task.leaves.length > 0 && { yes }), ...(mayLock(task) && { wait }), verbose }
}

/** An error as it is shown: what the system refused in its own words; what nobody expected is an internal error and keeps its stack. */
export function expectedError(error: unknown, what: string): PlatformError {
  if (error instanceof PlatformError) return error
  return (
    refusedBySystem(error) ??
    new PlatformError(`${what} failed with an internal error`, {
      why: (error instanceof Error && error.stack) || messageOf(error),
    })
  )
}

/** The text of `--help`. */
export function helpText(task: TaskDefinition): string {
  const rows = Object.entries<OptionDefinition>({ ...task.options, ...usefulOptions(task) }).map(([name, option]) => {
    const flag = `${option.short ? `-${option.short}, ` : '    '}--${name}${option.type === 'string' ? ` ${option.value ?? 'VALUE'}` : ''}`
    return [flag, option.help] as const
  })
  const width = Math.max(...rows.map(([flag]) => flag.length))
  const args = ['[options]', task.positionals].filter(Boolean).join(' ')
  return [
    `${task.name}: ${task.summary}`,
    '',
    `Usage: task ${task.name} -- ${args}, npm run ${task.name} -- ${args}, or ./tasks/${task.name}.ts ${args}`,
    ...(task.replaces ? ['', `Replaces: ${task.replaces}`] : []),
    '',
    'Options:',
    ...rows.map(([flag, help]) => `  ${flag.padEnd(width)}  ${help}`),
    '',
    ...(task.leaves.length > 0
      ? ['Leaves on the machine:', ...task.leaves.map(line => `  - ${line}`)]
      : ['Leaves nothing on the machine.']),
    ...(task.undo ? ['', `Undo: ${task.undo}`] : []),
  ].join('\n')
}

interface Parsed {
  help: boolean
  verbose: boolean
  wait: boolean
  yes: boolean
  options: OptionValues<Options>
  positionals: readonly string[]
}

function parse(task: TaskDefinition, args: readonly string[]): Parsed | PlatformError {
  const options: ParseArgsConfig['options'] = {}
  for (const [name, { type, short }] of Object.entries<OptionDefinition>({ ...task.options, ...commonOptions })) {
    options[name] = short === undefined ? { type } : { type, short }
  }
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      allowPositionals: task.positionals !== undefined,
    })
    const { help, verbose, wait, yes, ...own } = values
    return {
      help: help === true,
      verbose: verbose === true,
      wait: wait === true,
      yes: yes === true,
      options: own as OptionValues<Options>,
      positionals,
    }
  } catch (error) {
    return badInput(
      `${task.name} does not take these arguments`,
      [{ where: args.join(' '), what: messageOf(error) }],
      `task ${task.name} -- --help`,
    )
  }
}
