// The way in: `node lib/cli/launch.mjs TASK [ARGS]`, or a script of tasks/ in place of TASK, whose first line starts us. Plain JavaScript without packages, because it has to work on a fresh clone:
// it installs the npm packages where they are missing or outdated, then hands over to tasks/TASK.ts, or, for a task that
// only names others in Taskfile.yml, to these one after the other.
// The only place that touches the process: streams, exit code, signals.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensurePackages, requireNode, root } from './bootstrap.mjs'
import { bundleFolder } from './bundle.mjs'
import { endChildren, statOf } from './children.mjs'
import { inUsedForm, readInvocation } from './invocation.mjs'

const invocation = readInvocation()
const { name, args: words } = invocation
/** What the running task wants done when it is interrupted. */
const interruptions = []
/** All that speaks to the user. */
const outputs = []
const running = { onlyLooks: false }

requireNode()
ensurePackages()
const load = await loader()
endWithOurChildren()
endWithOurStarter()
const alone = name !== '' && existsSync(scriptOf(name)) && !words.includes('--dry')
process.exitCode = alone ? await runScript(name, words) : await runWorkflow(name, words)

/** Imports a module of ours, like `lib/cli/task`: as it is where Node runs TypeScript, else out of the bundle, or compiled one by one. */
async function loader() {
  const bundle = process.features.typescript ? undefined : await bundleFolder()
  if (bundle === undefined && !process.features.typescript) (await import('tsx/esm/api')).register()
  process.setSourceMapsEnabled(bundle !== undefined)
  const pathOf = module => (bundle === undefined ? join(root, `${module}.ts`) : join(bundle, `${module}.js`))
  return module => import(pathToFileURL(pathOf(module)).href)
}

function scriptOf(task) {
  return join(root, 'tasks', `${task}.ts`)
}

async function runScript(script, words) {
  const { runTask } = await load('lib/cli/task')
  const { default: task } = await load(`tasks/${script}`)
  running.onlyLooks = task.leaves.length === 0
  return runTask(task, words, {
    environment: process.env,
    showHelp: print,
    createOutput,
    onInterrupt: action => interruptions.push(action),
  })
}

async function runWorkflow(task, words) {
  const { readTaskfile, stepsOf, dryRun, workflowHelp } = await load('lib/cli/taskfile')
  const output = await createOutput(false)
  try {
    const taskfile = await readTaskfile()
    const steps = stepsOf(taskfile, task)
    if (words.includes('--help') || words.includes('-h')) print(workflowHelp(taskfile, task))
    else if (words.includes('--dry')) output.say(dryRun(steps, words).join('\n'))
    else {
      for (const { script } of steps) {
        const exitCode = await runScript(script, words)
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
  const watched = process.stderr.isTTY === true && !process.env.CI
  const output = createOutput({
    stdout: process.stdout,
    stderr: process.stderr,
    interactive: process.stdin.isTTY === true && process.stderr.isTTY === true,
    color: watched && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
    inUsedForm: text => inUsedForm(text, invocation),
    // a terminal that does not know its width (0 columns) sends ora into an endless loop
    spinner: watched && !verbose && process.stderr.columns > 0,
  })
  outputs.push(output)
  return output
}

// A terminal sends Ctrl-C to the children as well; SIGTERM and SIGHUP reach only us, so we pass them on.
function endWithOurChildren() {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, async () => {
      for (const output of outputs) output.interrupted()
      // what ends in order by itself must not have its parts shot one by one
      for (const action of interruptions) await action().catch(error => process.stderr.write(`✗ ${error.message}\n`))
      await endChildren(signal)
      // looking is ended like that; there is nothing to go on with
      if (!running.onlyLooks)
        process.stderr.write('✗ Interrupted\n  → run the same command again: it goes on where this one stopped\n')
      process.exit(130)
    })
  }
}

// A signal that cannot be caught ends npm or go-task alone: then nobody waits for us any more, and we end as if it had reached us.
function endWithOurStarter() {
  const shell = process.ppid
  const viaNpm = process.env.npm_lifecycle_event !== undefined
  if (!viaNpm && statOf(shell)?.name !== 'task') return
  // npm starts us through a shell of its own
  const npm = viaNpm ? statOf(shell)?.parent : undefined
  setInterval(() => {
    if (process.ppid !== shell || (viaNpm && statOf(shell)?.parent !== npm)) process.kill(process.pid, 'SIGTERM')
  }, 1000).unref()
}
