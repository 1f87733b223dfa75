// Prints the licence of every npm package and of every Go module that a stand-in is compiled from, and fails for one that is not allowed.
// `npm run licences`. Programs count as soon as they are in the cache; their modules are downloaded where Go's cache has been pruned.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathsOf } from '../lib/platform/settings.ts'
import { programBuild } from '../lib/sandbox/programs.ts'
import { programRecipes } from '../lib/sandbox/recipes.ts'
import { ensureBuilt, folderName, isBuilt } from '../lib/supply/cache.ts'
import { goCompiler, goEnvironment, usingGoCaches } from '../lib/supply/go.ts'
import { type LicensedModule, licencesOfPrograms } from '../lib/supply/licences.ts'
import { root } from '../lib/system/checkout.ts'
import { $ } from '../lib/system/exec.ts'
import { table } from '../lib/system/text.ts'
import { refusedLicences } from './helpers/licences.ts'

const { cacheDir } = pathsOf()
const options = { cacheDir }

const packages = (await $({
  cwd: root,
  timeout: '5m',
})`node_modules/.bin/license-checker-rseidelsohn --json --excludePrivatePackages`.json()) as Record<
  string,
  { licenses: string | string[] }
>
const npm = Object.entries(packages).map(
  ([name, { licenses }]) => ['npm', name, [licenses].flat().join(' AND ')] as const,
)

const go: (readonly ['go', string, string])[] = []
const missing: string[] = []
let programs = 0
for (const name of Object.keys(await programRecipes())) {
  const build = await programBuild(name, options)
  if (!(await isBuilt(build, options))) missing.push(name)
  else {
    const { modules, count } = await modulesOf(name, join(cacheDir, 'built', folderName(build)))
    programs += count
    go.push(...modules.map(({ module, version, licence }) => ['go', `${module}@${version}`, licence] as const))
  }
}
const rows = [...npm, ...new Map(go.map(row => [row[1], row])).values()].sort(([, one], [, other]) =>
  one < other ? -1 : 1,
)

process.stdout.write(`${table(['KIND', 'NAME', 'LICENCE'], rows)}\n`)
const refused = refusedLicences(rows)
process.stderr.write(`${npm.length} npm packages, ${rows.length - npm.length} Go modules of ${programs} programs\n`)
if (missing.length > 0) process.stderr.write(`not compiled yet, so not looked at: ${missing.join(', ')}\n`)
for (const [, name, licence] of refused) process.stderr.write(`✗ ${name}: ${licence} is not on the allow list\n`)
process.exitCode = refused.length > 0 ? 1 : 0

/** The modules of a program's recipe with their licences; read from its sources once, and kept as long as the program is the same. */
async function modulesOf(name: string, folder: string): Promise<{ modules: LicensedModule[]; count: number }> {
  const programs = (await readdir(folder)).map(file => join(folder, file))
  const build = (kept: string) =>
    usingGoCaches(cacheDir, async () => {
      const modules = await licencesOfPrograms(await goCompiler(options), programs, goEnvironment(cacheDir), kept)
      await writeFile(join(kept, 'modules.json'), JSON.stringify(modules))
    })
  const kept = await ensureBuilt({ name: `licences-${name}`, inputs: folder, build }, options)
  return { modules: JSON.parse(await readFile(join(kept, 'modules.json'), 'utf8')), count: programs.length }
}
