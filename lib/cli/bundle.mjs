// For a Node that does not run TypeScript itself: all tasks with everything they import in one bundle, rebuilt when any of them has changed.
// Compiling and loading hundreds of modules one by one costs each start 0.4 s; checking that the bundle is current costs 5 ms.
// What is imported by `import * as` is left out of it where nothing uses it; by name, all of zod would be in it, with 40 languages (35 ms of each start).
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './bootstrap.mjs'

/** What the launcher imports itself, beside the tasks. */
const own = ['lib/cli/task.ts', 'lib/cli/output.ts', 'lib/cli/board.ts', 'lib/cli/taskfile.ts', 'lib/system/running.ts']
/** No task runs for longer, and a running one may still import parts of an outdated bundle. */
const outdatedMs = 12 * 60 * 60 * 1000

/** The folder of the current bundle, laid out like the checkout; undefined where none can be written, for instance in a checkout that belongs to somebody else. */
export async function bundleFolder() {
  const sources = [...sourcesBelow('tasks'), ...sourcesBelow('lib')]
  const cache = join(root, 'node_modules', '.cache', 'macula')
  const folder = join(cache, fingerprintOf([...sources, 'Taskfile.yml', 'node_modules/.package-lock.json']))
  if (existsSync(join(folder, 'lib', 'cli', 'task.js'))) return folder
  try {
    await mkdir(cache, { recursive: true })
    for (const name of readdirSync(cache)) {
      const old = join(cache, name)
      if (Date.now() - statSync(old).mtimeMs > outdatedMs) rmSync(old, { recursive: true, force: true })
    }
    const unfinished = mkdtempSync(join(cache, 'unfinished-'))
    await bundle([...sourcesBelow('tasks'), ...own], unfinished)
    await writeHelp(unfinished)
    // readable by everybody who can read the sources
    chmodSync(unfinished, 0o755)
    try {
      renameSync(unfinished, folder)
    } catch {
      // another task wrote it first
      rmSync(unfinished, { recursive: true })
    }
    return folder
  } catch {
    // not writable by us, or an error in the sources, which is reported when they run without a bundle
    return undefined
  }
}

/** What `--help` prints for a task or workflow, without loading it: that would take twice as long as Node's own start. undefined where there is no such task. */
export function bundledHelp(folder, name) {
  const file = join(folder ?? '', 'help', `${name}.txt`)
  return folder !== undefined && /^[a-z][a-z-]*$/.test(name) && existsSync(file)
    ? readFileSync(file, 'utf8')
    : undefined
}

async function writeHelp(folder) {
  const load = module => import(pathToFileURL(join(folder, `${module}.js`)).href)
  const { helpText } = await load('lib/cli/task')
  const { readTaskfile, workflowHelp } = await load('lib/cli/taskfile')
  const taskfile = await readTaskfile()
  const scripts = sourcesBelow('tasks').map(file => basename(file, '.ts'))
  const workflows = Object.keys(taskfile.tasks).filter(name => taskfile.tasks[name].desc && !scripts.includes(name))
  const write = (name, text) => writeFileSync(join(folder, 'help', `${name}.txt`), text)
  mkdirSync(join(folder, 'help'))
  for (const name of scripts) write(name, helpText((await load(`tasks/${name}`)).default))
  for (const name of workflows) write(name, workflowHelp(taskfile, name))
}

async function bundle(entryPoints, outdir) {
  const { build } = await import('esbuild')
  await build({
    absWorkingDir: root,
    entryPoints,
    outdir,
    outbase: root,
    bundle: true,
    splitting: true,
    minifySyntax: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: 'linked',
    sourcesContent: false,
    logLevel: 'silent',
    external: ['pg-native'],
    // CommonJS packages use `require` for Node's own modules
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url)",
    },
    // lib/system/checkout.ts is the only module that reads it
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(join(root, 'lib', 'system', 'checkout.ts')).href) },
  })
}

function sourcesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(({ name }) => /\.(ts|mjs)$/.test(name))
    .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
}

/** A hash of the checkout's path and of each file's size and time. */
function fingerprintOf(files) {
  const hash = createHash('sha256').update(root)
  for (const file of files.sort()) {
    const { mtimeMs, size } = statSync(join(root, file))
    hash.update(`${file} ${size} ${mtimeMs}\n`)
  }
  return hash.digest('hex').slice(0, 16)
}
