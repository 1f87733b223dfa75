import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import * as z from 'zod'
import { root } from '../system/checkout.ts'
import { badInput, type Problem } from '../system/errors.ts'
import { commandLine } from '../system/exec.ts'

const command = /^node lib\/cli\/launch\.mjs ([a-z][a-z-]*)((?: (?:--)?[a-z-]+)*) \{\{\.CLI_ARGS\}\}$/

const cmds = z.array(
  z.union([
    z.string().regex(command, 'should read `node lib/cli/launch.mjs NAME [WORD…] {{.CLI_ARGS}}`'),
    z.strictObject({ task: z.string() }),
  ]),
)
// Go-task runs a dependency once for each that depends on it where it has no `run: once`, and with it hangs on a circle. Public tasks have none,
// so that `task deploy-apps` runs just that.
const publicTask = z.strictObject({ desc: z.string(), cmds })
const graphStep = z.strictObject({
  internal: z.literal(true),
  run: z.literal('once'),
  deps: z.array(z.string()).default([]),
  cmds,
})

// what our Taskfile uses of go-task's language; anything else is refused, so that `npm run` never quietly does less than `task`
const taskfile = z.strictObject({
  version: z.literal('3'),
  tasks: z.record(z.string(), z.unknown()),
})

/** One task: a public one with its description, or a step of the graph with what it waits for. */
export interface TaskEntry {
  /** Public tasks only. */
  desc: string | undefined
  deps: readonly string[]
  cmds: readonly (string | { task: string })[]
}

export interface Taskfile {
  tasks: Readonly<Record<string, TaskEntry>>
}

/** One script of a workflow. */
export interface WorkflowStep {
  /** The Taskfile's name for it. */
  task: string
  /** The script: `tasks/<script>.ts`. */
  script: string
  /** Its own arguments, before those that a person gives. */
  words: readonly string[]
}

/** One step of a graph. */
export interface GraphStep {
  /** Its name in the graph: `cluster` for the Taskfile's `setup:cluster`. */
  name: string
  /** What it runs, one after the other. */
  scripts: readonly WorkflowStep[]
  /** Names of the steps that have to be done before it. */
  after: readonly string[]
}

/** Reads Taskfile.yml. Throws with all that the small runner does not support. */
export async function readTaskfile(): Promise<Taskfile> {
  return checkTaskfile(await readFile(join(root, 'Taskfile.yml'), 'utf8'))
}

/** The checked content of a Taskfile's text, also for circles and names of tasks there are not; the pure half of readTaskfile. */
export function checkTaskfile(text: string): Taskfile {
  const parsed = taskfile.safeParse(parse(text))
  if (!parsed.success) throw unsupported(parsed.error.issues.map(issue => problemOf([], issue)))
  const tasks: Record<string, TaskEntry> = {}
  const problems: Problem[] = []
  for (const [name, value] of Object.entries(parsed.data.tasks)) {
    const isStep = typeof value === 'object' && value !== null && 'internal' in value
    const entry = isStep ? graphStep.safeParse(value) : publicTask.safeParse(value)
    if (entry.success) tasks[name] = { desc: undefined, deps: [], ...entry.data }
    else problems.push(...entry.error.issues.map(issue => problemOf(['tasks', name], issue)))
  }
  if (problems.length === 0) problems.push(...unknownNames(tasks))
  if (problems.length === 0) problems.push(...circles(tasks))
  if (problems.length > 0) throw unsupported(problems)
  return { tasks }
}

function unsupported(problems: readonly Problem[]) {
  return badInput('The runner behind `npm run` does not support this Taskfile', problems, 'Use go-task: task --list')
}

function problemOf(at: readonly string[], { path, message }: { path: PropertyKey[]; message: string }): Problem {
  return { where: `Taskfile.yml: ${[...at, ...path].join('.')}`, what: message }
}

/** All that a task starts: what it waits for, then what it calls. */
function calledBy({ deps, cmds }: TaskEntry): string[] {
  return [...deps, ...cmds.flatMap(cmd => (typeof cmd === 'string' ? [] : [cmd.task]))]
}

function unknownNames(tasks: Taskfile['tasks']): Problem[] {
  return Object.entries(tasks).flatMap(([name, task]) =>
    calledBy(task)
      .filter(other => !Object.hasOwn(tasks, other))
      .map(other => ({ where: `Taskfile.yml: tasks.${name}`, what: `there is no task ${other}` })),
  )
}

/** The first circle that can be reached from each task, each circle once. */
function circles(tasks: Taskfile['tasks']): Problem[] {
  const settled = new Set<string>()
  const problems: Problem[] = []
  const visit = (name: string, path: readonly string[]) => {
    const start = path.indexOf(name)
    if (start !== -1)
      problems.push({
        where: `Taskfile.yml: tasks.${name}`,
        what: `waits for itself: ${[...path.slice(start), name].join(' → ')}`,
      })
    if (start !== -1 || settled.has(name)) return
    for (const other of calledBy(tasks[name]!)) visit(other, [...path, name])
    settled.add(name)
  }
  for (const name of Object.keys(tasks)) visit(name, [])
  return problems
}

/** The scripts of a task that a person may start, in order. Throws for any other name. */
export function workflowOf(taskfile: Taskfile, name: string): WorkflowStep[] {
  if (publicNames(taskfile).includes(name)) return stepsOf(taskfile, name)
  throw badInput(name === '' ? 'No task was named' : `There is no task ${name}`, [
    { where: 'Taskfile.yml', what: publicNames(taskfile).join(', ') },
  ])
}

/** The scripts of a task in an order in which they can run, all references resolved and each step of a graph once. */
export function stepsOf({ tasks }: Taskfile, name: string, seen = new Set<string>()): WorkflowStep[] {
  const task = tasks[name]!
  if (task.desc === undefined && seen.has(name)) return []
  seen.add(name)
  const before = task.deps.flatMap(other => stepsOf({ tasks }, other, seen))
  return [
    ...before,
    ...task.cmds.flatMap(cmd => (typeof cmd === 'string' ? [stepOf(name, cmd)] : stepsOf({ tasks }, cmd.task, seen))),
  ]
}

function stepOf(task: string, cmd: string): WorkflowStep {
  const [, script = '', words = ''] = command.exec(cmd) ?? []
  return { task, script, words: words.split(' ').filter(Boolean) }
}

/** The tasks that a person may start. */
export function publicNames({ tasks }: Taskfile): string[] {
  return Object.keys(tasks).filter(name => tasks[name]?.desc !== undefined)
}

/** The steps that the Taskfile names `PREFIX:…`, in its order. */
export function graphOf(taskfile: Taskfile, prefix: string): GraphStep[] {
  const bare = (name: string) => name.slice(prefix.length + 1)
  return Object.entries(taskfile.tasks)
    .filter(([name]) => name.startsWith(`${prefix}:`))
    .map(([name, { deps, cmds }]) => ({
      name: bare(name),
      after: deps.map(bare),
      scripts: cmds.flatMap(cmd => (typeof cmd === 'string' ? [stepOf(name, cmd)] : stepsOf(taskfile, cmd.task))),
    }))
}

/** What `task --dry NAME -- ARGS` prints for these steps, a line each; `--dry` itself is not passed on. */
export function dryRun(steps: readonly WorkflowStep[], args: readonly string[]): string[] {
  const handed = args.filter(word => word !== '--dry')
  return steps.map(
    ({ task, script, words }) =>
      `task: [${task}] ${commandLine(['node', 'lib/cli/launch.mjs', script, ...words, ...handed])}`,
  )
}

/** The text of `--help` of a task that consists of others. */
export function workflowHelp(taskfile: Taskfile, name: string): string {
  const steps = workflowOf(taskfile, name)
  const width = Math.max(...steps.map(({ task }) => task.length))
  return [
    `${name}: ${taskfile.tasks[name]?.desc}`,
    '',
    `Usage: npm run ${name} -- [options]   or   task ${name} -- [options]`,
    '',
    'Runs these tasks one after the other and stops at the first that fails; each has a --help of its own:',
    ...steps.map(({ task }) => `  ${task.padEnd(width)}  ${taskfile.tasks[task]?.desc}`),
    '',
    'Options:',
    '  -y, --yes      do not prompt; passed to every task',
    '      --wait     wait for another task that changes this installation, however long it takes',
    '  -v, --verbose  show the commands that are run, and what they print',
    '      --dry      print what would be run, and run nothing',
    '  -h, --help     show this text',
    '',
    'Undo: task teardown',
  ].join('\n')
}
