// The way in: `node lib/cli/launch.mjs TASK [ARGS]`, or a script of tasks/ in place of TASK, whose first line starts us. Plain JavaScript without packages, because it has to work on a fresh clone:
// it installs the npm packages where they are missing or outdated, then hands over to tasks/TASK.ts, or, for a task that
// only names others in Taskfile.yml, to these one after the other.
// The only place that touches the process: streams, exit code, signals.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensurePackages, requireNode, root } from './bootstrap.mjs'
import { bundledHelp, bundleFolder } from './bundle.mjs'
import { endChildren } from './children.mjs'
import { inUsedForm, readInvocation } from './invocation.mjs'
import { endWithOurStarter, goTask, requireFolder, watchProcess } from './process.mjs'

/** What the running task wants done when it is interrupted. */
const interruptions = []
/** All that speaks to the user. */
const outputs = []
const boards = []
/** Ends what the running task has started. */
const cancellation = new AbortController()
const running = { onlyLooks: false, isInterrupted: false, isWorkflow: false }

requireNode()
requireFolder()
const invocation = readInvocation()
const { name, args } = invocation
ensurePackages()
const bundle = process.features.typescript ? undefined : await bundleFolder()
const help = args.every(arg => ['--help', '-h'].includes(arg)) && args.length > 0 && bundledHelp(bundle, name)
if (help) {
  print(help)
  await flushed()
  process.exit(0)
}
const load = await loader()
watchProcess({ interrupt, fail })
endWithOurStarter()
const alone = existsSync(scriptOf(name)) && !args.includes('--dry')
const exitCode = await (alone ? runScript(name, args) : runWorkflow(name, args)).catch(fail)
await flushed()
// nothing that a task has left running in here may keep the process; an interruption ends it by itself
if (!running.isInterrupted) process.exit(exitCode)

/** Imports a module of ours, like `lib/cli/task`: as it is where Node runs TypeScript, else out of the bundle, or compiled one by one. */
async function loader() {
  if (bundle === undefined && !process.features.typescript) (await import('tsx/esm/api')).register()
  process.setSourceMapsEnabled(bundle !== undefined)
  const pathOf = module => (bundle === undefined ? join(root, `${module}.ts`) : join(bundle, `${module}.js`))
  return module => import(pathToFileURL(pathOf(module)).href)
}

function scriptOf(task) {
  // a name with a slash or without a letter is no task's, wherever it would lead
  return join(root, 'tasks', /^[a-z][a-z-]*$/.test(task) ? `${task}.ts` : 'no-task')
}

async function runScript(script, args) {
  const { runTask } = await load('lib/cli/task')
  const { default: task } = await load(`tasks/${script}`)
  running.onlyLooks = task.leaves.length === 0
  return runTask(task, args, {
    environment: process.env,
    showHelp: print,
    createOutput,
    onInterrupt: action => interruptions.push(action),
    cancellation,
    endProcesses,
    createBoard,
    loadTask: async name => (await load(`tasks/${name}`)).default,
    workflow: running.isWorkflow ? process.pid : goTask(),
  })
}

async function runWorkflow(task, args) {
  const { readTaskfile, workflowOf, dryRun, workflowHelp } = await load('lib/cli/taskfile')
  const output = await createOutput(false)
  try {
    const taskfile = await readTaskfile()
    const steps = workflowOf(taskfile, task)
    if (args.includes('--help') || args.includes('-h')) print(workflowHelp(taskfile, task))
    else if (args.includes('--dry')) output.say(dryRun(steps, args).join('\n'))
    else {
      running.isWorkflow = true
      for (const { script } of steps) {
        const exitCode = await runScript(script, args)
        if (exitCode !== 0) return exitCode
      }
    }
    return 0
  } catch (error) {
    if (error.exitCode === undefined) throw error
    output.error(error)
    return error.exitCode
  }
}

function print(text) {
  process.stdout.write(`${text}\n`)
}

async function createOutput(verbose) {
  const { createOutput } = await load('lib/cli/output')
  const output = createOutput(outputOptions(verbose))
  outputs.push(output)
  return output
}

async function createBoard(verbose) {
  const { createBoard } = await load('lib/cli/board')
  const board = createBoard(outputOptions(verbose), { streams: verbose })
  boards.push(board)
  return board
}

function outputOptions(verbose) {
  const watched = process.stderr.isTTY === true && !process.env.CI
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    interactive: process.stdin.isTTY === true && process.stderr.isTTY === true,
    color: watched && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
    inUsedForm: text => inUsedForm(text, invocation),
    // a terminal that does not know its width (0 columns) sends ora into an endless loop
    spinner: watched && !verbose && process.stderr.columns > 0,
  }
}

/** Resolves when no process of ours is left. A package manager finishes first. */
async function endProcesses(signal = 'SIGTERM') {
  const { endCommands } = await load('lib/system/running')
  await endCommands()
  await endChildren(signal)
}

/** What happens when a signal reaches us, or when whoever read our output is gone. */
async function interrupt(signal, exitCode, message) {
  if (running.isInterrupted) return
  running.isInterrupted = true
  for (const shown of [...boards, ...outputs]) shown.interrupted()
  // what ends in order by itself must not have its parts shot one by one
  for (const action of interruptions) await action().catch(error => process.stderr.write(`✗ ${error.message}\n`))
  cancellation.abort()
  await endProcesses(signal)
  // looking is ended like that; there is nothing to go on with
  if (!running.onlyLooks) process.stderr.write(message)
  process.exit(exitCode)
}

/** For what no task has caught: one message, and no process left. */
async function fail(error) {
  cancellation.abort()
  await endProcesses()
  const { expectedError } = await load('lib/cli/task')
  const shown = expectedError(error, name || 'The launcher')
  const output = outputs.at(-1) ?? (await createOutput(false))
  output.error(shown)
  return shown.exitCode
}

/** Waits until the output is written, where the system does that later; not for a reader that does not read. */
async function flushed() {
  const written = [process.stdout, process.stderr].map(stream => new Promise(resolve => stream.write('', resolve)))
  await Promise.race([Promise.all(written), new Promise(resolve => setTimeout(resolve, 500))])
}
