// How this process was started, so that hints name commands in the form that the user types. Plain JavaScript, like the launcher that needs it.
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { linkOf, statOf } from '../system/proc.mjs'
import { root } from './bootstrap.mjs'

/**
 * @typedef {object} Invocation
 * @property {string} name the task
 * @property {string[]} args what was given to it
 * @property {boolean} direct whether the script of the task was started by itself, not the launcher
 * @property {(name: string) => string} command how the user would start a task, without arguments
 * @property {string} separator what stands between that and its arguments
 */

const launcher = join(root, 'lib', 'cli', 'launch.mjs')

/**
 * Reads what started us: `task NAME`, `npm run NAME`, `./tasks/NAME.ts`, `npx tsx tasks/NAME.ts`, `node tasks/NAME.ts` or `npx zx tasks/NAME.ts`.
 * @returns {Invocation}
 */
export function readInvocation(process = globalThis.process) {
  const [, entry = '', ...rest] = process.argv
  const isLauncher = same(entry, launcher)
  const isZx = /[/\\]zx[/\\]build[/\\]cli\.[cm]?js$|[/\\]zx$/.test(entry) && !isScript(entry)
  const [first = '', ...args] = isLauncher || isZx ? rest : [entry, ...rest]
  const direct = !isLauncher && isScript(first)
  if (isScript(first)) {
    const runner = isLauncher ? '' : isZx ? 'npx zx ' : usesTsx(process) ? 'npx tsx ' : 'node '
    return { name: nameOf(first), args, direct, ...scriptForm(runner, isLauncher ? first : shownPath(first)) }
  }
  return { name: first, args, direct, ...runnerForm(process) }
}

/** Whether the script of this task is what was started, rather than the launcher. Cheap: every task asks when it is loaded. */
export function isStartedDirectly(name, argv = process.argv) {
  return argv.slice(1, 3).some(word => word.endsWith(`${name}.ts`) && isScript(word)) && !same(argv[1], launcher)
}

/**
 * Puts the commands in a text, which all code of ours writes as `task NAME -- ARGS`, into the form that was used.
 * @param {string} text
 * @param {Invocation} invocation
 */
export function inUsedForm(text, { command, separator }) {
  if (!text.includes('task ')) return text
  return text.replace(/\btask ([a-z]+(?:-[a-z]+)*)\b( --(?= ))?/g, (whole, name, dashes) =>
    taskNames().has(name) ? command(name) + (dashes === undefined ? '' : separator) : whole,
  )
}

let names
function taskNames() {
  names ??= new Set(
    [...readFileSync(join(root, 'Taskfile.yml'), 'utf8').matchAll(/^ {2}([a-z-]+):$/gm)].map(([, name]) => name),
  )
  return names
}

function scriptForm(runner, typed) {
  const folder = dirname(typed)
  // a path without a slash in front would be looked for on PATH
  const start = runner !== '' || /^[./]/.test(folder) ? '' : './'
  const command = name =>
    existsSync(join(root, 'tasks', `${name}.ts`)) ? `${runner}${start}${folder}/${name}.ts` : npm(name)
  return { command, separator: '' }
}

function runnerForm(process) {
  if (process.env.npm_lifecycle_event !== undefined)
    return { command: name => npm(name, process.env.INIT_CWD), separator: ' --' }
  const starter = statOf(process.ppid)?.name === 'task' ? linkOf(process.ppid, 'cwd') : undefined
  return { command: name => (isInside(starter) ? `task ${name}` : `task --dir ${root} ${name}`), separator: ' --' }
}

function npm(name, from = process.cwd()) {
  return isInside(from) ? `npm run ${name}` : `npm --prefix ${root} run ${name}`
}

/** go-task and npm look for their files in the folders above, too. */
function isInside(folder) {
  return folder === undefined || folder === root || folder.startsWith(`${root}/`)
}

function isScript(path) {
  return path.endsWith('.ts') && same(dirname(resolve(path)), join(root, 'tasks'))
}

function nameOf(path) {
  return basename(path, '.ts')
}

// Node makes the path of its script absolute; a person types the short one
function shownPath(path) {
  const short = relative(process.cwd(), path)
  return short.startsWith('../../') ? path : short
}

function usesTsx({ execArgv }) {
  return execArgv.some(word => /(^|\/)tsx(\/|$)/.test(word))
}

function same(one, other) {
  try {
    return realpathSync(one) === realpathSync(other)
  } catch {
    return false
  }
}
