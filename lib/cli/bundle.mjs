// For a Node that does not run TypeScript itself: all tasks with everything they import as one bundle, made anew when anything in it has changed.
// Compiling and loading hundreds of modules one by one costs each start 0.4 s; looking whether the bundle is current costs 5 ms.
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './bootstrap.mjs'

/** What the launcher imports itself, beside the tasks. */
const own = ['lib/cli/task.ts', 'lib/cli/output.ts', 'lib/cli/taskfile.ts']
/** No task runs for longer, and a running one may still import parts of an outdated bundle. */
const outdatedMs = 12 * 60 * 60 * 1000

/** The folder of the current bundle, laid out like the checkout; undefined where none can be made, for instance in somebody else's checkout. */
export async function bundleFolder() {
  const sources = [...sourcesBelow('tasks'), ...sourcesBelow('lib')]
  const cache = join(root, 'node_modules', '.cache', 'macula')
  const folder = join(cache, fingerprintOf([...sources, 'node_modules/.package-lock.json']))
  if (existsSync(join(folder, 'lib', 'cli', 'task.js'))) return folder
  try {
    await mkdir(cache, { recursive: true })
    for (const name of readdirSync(cache)) {
      const old = join(cache, name)
      if (Date.now() - statSync(old).mtimeMs > outdatedMs) rmSync(old, { recursive: true, force: true })
    }
    const unfinished = mkdtempSync(join(cache, 'unfinished-'))
    await bundle([...sourcesBelow('tasks'), ...own], unfinished)
    // whoever may read the sources
    chmodSync(unfinished, 0o755)
    try {
      renameSync(unfinished, folder)
    } catch {
      // another task has been quicker
      rmSync(unfinished, { recursive: true })
    }
    return folder
  } catch {
    // not ours to write, or a mistake in the sources, which is told about when they are run without a bundle
    return undefined
  }
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
    // packages that are no ES modules ask for Node's own modules in their way
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url)",
    },
    // of all modules, only lib/system/checkout.ts asks where it stands
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(join(root, 'lib', 'system', 'checkout.ts')).href) },
  })
}

function sourcesBelow(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(({ name }) => /\.(ts|mjs)$/.test(name))
    .map(({ parentPath, name }) => relative(root, join(parentPath, name)))
}

/** A name for the state of files, and for the place they are in. */
function fingerprintOf(files) {
  const hash = createHash('sha256').update(root)
  for (const file of files.sort()) {
    const { mtimeMs, size } = statSync(join(root, file))
    hash.update(`${file} ${size} ${mtimeMs}\n`)
  }
  return hash.digest('hex').slice(0, 16)
}
