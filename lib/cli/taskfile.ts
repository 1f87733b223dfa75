import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { root } from '../system/checkout.ts'
import { badInput } from '../system/errors.ts'
import { commandLine } from '../system/exec.ts'

const command = /^node lib\/cli\/launch\.mjs ([a-z][a-z-]*) \{\{\.CLI_ARGS\}\}$/

// what our Taskfile uses of go-task's language; anything else is refused, so that `npm run` never quietly does less than `task`
const taskfile = z.strictObject({
  version: z.literal('3'),
  tasks: z.record(
    z.string(),
    z.strictObject({
      desc: z.string(),
      cmds: z.array(
        z.union([
          z.string().regex(command, 'should read `node lib/cli/launch.mjs NAME {{.CLI_ARGS}}`'),
          z.strictObject({ task: z.string() }),
        ]),
      ),
    }),
  ),
})

export type Taskfile = z.infer<typeof taskfile>

/** One script of a workflow. */
export interface WorkflowStep {
  /** The Taskfile's name for it. */
  task: string
  /** The script: `tasks/<script>.ts`. */
  script: string
}

/** Reads Taskfile.yml. Throws with all that the small runner does not support. */
export async function readTaskfile(): Promise<Taskfile> {
  return checkTaskfile(await readFile(join(root, 'Taskfile.yml'), 'utf8'))
}

/** The checked content of a Taskfile's text; the pure half of readTaskfile. */
export function checkTaskfile(text: string): Taskfile {
  const parsed = taskfile.safeParse(parse(text))
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(issue => ({
    where: `Taskfile.yml: ${issue.path.join('.')}`,
    what: issue.message,
  }))
  throw badInput('The runner behind `npm run` does not support this Taskfile', problems, 'Use go-task: task --list')
}

/** The scripts of a task in order, all references resolved. Throws for a name that is not in the Taskfile. */
export function stepsOf({ tasks }: Taskfile, name: string): WorkflowStep[] {
  // `constructor` is no task, though every object has one
  const task = Object.hasOwn(tasks, name) ? tasks[name] : undefined
  if (task === undefined)
    throw badInput(name === '' ? 'No task was named' : `There is no task ${name}`, [
      { where: 'Taskfile.yml', what: Object.keys(tasks).join(', ') },
    ])
  return task.cmds.flatMap(cmd =>
    typeof cmd === 'string'
      ? [{ task: name, script: command.exec(cmd)?.[1] ?? '' }]
      : stepsOf({ version: '3', tasks }, cmd.task),
  )
}

/** What `task --dry NAME -- ARGS` prints for these steps, a line each; `--dry` itself is not passed on. */
export function dryRun(steps: readonly WorkflowStep[], args: readonly string[]): string[] {
  const handed = args.filter(word => word !== '--dry')
  return steps.map(
    ({ task, script }) => `task: [${task}] ${commandLine(['node', 'lib/cli/launch.mjs', script, ...handed])}`,
  )
}

/** The text of `--help` of a task that consists of others. */
export function workflowHelp(taskfile: Taskfile, name: string): string {
  const steps = stepsOf(taskfile, name)
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
