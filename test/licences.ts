// Prints the licence of every npm package and of every Go module that a stand-in is compiled from, and fails for one that is not allowed.
// `npm run licences`. Programs count as soon as they are in the cache; their modules are downloaded where Go's cache has been pruned.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathsOf } from '../lib/platform/settings.ts'
import { programBuild } from '../lib/sandbox/programs.ts'
import { programRecipes } from '../lib/sandbox/recipes.ts'
import { folderName, isBuilt } from '../lib/supply/cache.ts'
import { goCompiler, goEnvironment } from '../lib/supply/go.ts'
import { licencesOfPrograms } from '../lib/supply/licences.ts'
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

const programs: string[] = []
const missing: string[] = []
for (const name of Object.keys(await programRecipes())) {
  const build = await programBuild(name, options)
  if (!(await isBuilt(build, options))) missing.push(name)
  else {
    const folder = join(cacheDir, 'built', folderName(build))
    programs.push(...(await readdir(folder)).map(file => join(folder, file)))
  }
}
const work = await mkdtemp(join(tmpdir(), 'macula-licences-'))
const modules = await licencesOfPrograms(await goCompiler(options), programs, goEnvironment(cacheDir), work)
await rm(work, { recursive: true })
const go = modules.map(({ module, version, licence }) => ['go', `${module}@${version}`, licence] as const)

process.stdout.write(`${table(['KIND', 'NAME', 'LICENCE'], [...npm, ...go])}\n`)
const refused = refusedLicences([...npm, ...go])
process.stderr.write(`${npm.length} npm packages, ${go.length} Go modules of ${programs.length} programs\n`)
if (missing.length > 0) process.stderr.write(`not compiled yet, so not looked at: ${missing.join(', ')}\n`)
for (const [, name, licence] of refused) process.stderr.write(`✗ ${name}: ${licence} is not on the allow list\n`)
process.exitCode = refused.length > 0 ? 1 : 0
