// Compiles what e2e tests come to need, while those run that need nothing compiled; started by run.mjs. On an empty cache that takes ten minutes
// of two processors. A test that needs a program which is still being compiled waits for it; one that failed is tried again there, and told about.
import { pathsOf } from '../lib/platform/settings.ts'
import { allProgramsBuilt, ensureProgram } from '../lib/sandbox/programs.ts'
import { programRecipes } from '../lib/sandbox/recipes.ts'
import { pruneGoCaches } from '../lib/supply/go.ts'

/** What services are made of, then what clusters are made of: the order in which tests ask for them. */
const first = ['registry', 'placeholder', 's3', 'collector', 'kubernetes', 'traefik']

// whoever started us is gone
process.stdin.on('end', () => process.exit()).resume()

const { cacheDir } = pathsOf()
const others = Object.keys(await programRecipes()).filter(name => !first.includes(name))
for (const name of [...first, ...others]) {
  const started = Date.now()
  const made = await ensureProgram(name, { cacheDir }).then(
    () => true,
    () => false,
  )
  const seconds = (Date.now() - started) / 1000
  if (seconds > 1) process.stderr.write(`# ${name} ${made ? 'compiled' : 'not to be had'}, ${seconds.toFixed(0)} s\n`)
}
if (await allProgramsBuilt({ cacheDir })) await pruneGoCaches(cacheDir)
process.exit()
