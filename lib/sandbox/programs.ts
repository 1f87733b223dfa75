import { join } from 'node:path'
import { type Build, ensureBuilt, isBuilt, type SupplyOptions } from '../supply/cache.ts'
import { type DebianPackage, unpackPackages } from '../supply/debian.ts'
import { buildGoFolder, buildGoPrograms, type GoBuildOptions, quickFlags } from '../supply/go.ts'
import { contentsOf } from '../system/files.ts'
import { programRecipe, programRecipes, recipesFolder } from './recipes.ts'

/** A Docker engine and its clients that run on this machine without being installed. */
export interface EnginePrograms {
  /** Folders joined with `:`, to put first on PATH. */
  path: string
  /** Folder with the Compose and Buildx plugins, for `$DOCKER_CONFIG/cli-plugins`. */
  cliPlugins: string
}

/**
 * The engine's packages run on Debian 12 although they come from Debian's newest release. Only runc is the older one: newer ones ask for a
 * C library that Debian 12 does not have.
 */
const enginePackages: readonly DebianPackage[] = [
  { name: 'docker.io', suite: 'sid' },
  { name: 'docker-cli', suite: 'sid' },
  { name: 'containerd', suite: 'sid' },
  { name: 'docker-buildx', suite: 'sid' },
  { name: 'docker-compose', suite: 'sid' },
  { name: 'kind', suite: 'sid' },
  { name: 'tini-static', suite: 'sid' },
  { name: 'runc', suite: 'bookworm' },
]

/** How they are unpacked. */
export const engineBuild: Build = {
  name: 'engine',
  inputs: enginePackages,
  build: (folder, note) => unpackPackages(enginePackages, folder, note),
}

/** Docker engine, CLI, containerd, runc, Buildx, Compose and kind. Needs Debian's apt, not root, and no rights on the machine. */
export async function ensureEnginePrograms(options: SupplyOptions): Promise<EnginePrograms> {
  const folder = await ensureBuilt(engineBuild, options)
  return {
    path: [join(folder, 'usr/sbin'), join(folder, 'usr/bin')].join(':'),
    cliPlugins: join(folder, 'usr/libexec/docker/cli-plugins'),
  }
}

/**
 * The folder with the executables of the recipe `name` in `lib/sandbox/recipes/programs.yaml`, compiled now if no run before has done it.
 * Takes half a minute to a quarter of an hour the first time. Throws a PlatformError with the compiler's last lines.
 */
export async function ensureProgram(name: string, options: SupplyOptions): Promise<string> {
  return ensureBuilt(await programBuild(name, options), options)
}

/** How the recipe's programs are built, and what decides what comes out. The compiler is not part of that: any Go makes the same program. */
export async function programBuild(name: string, options: SupplyOptions): Promise<Build> {
  const recipe = await programRecipe(name)
  const waiting = () => options.report?.({ what: name, state: 'waiting', detail: 'other compiles run' })
  const build = (how: (folder: string, options: GoBuildOptions) => Promise<void>): Build['build'] => {
    return (folder, note) => how(folder, { ...options, note, waiting, quick: true })
  }
  const replacements = Object.entries(recipe.replaced ?? {}).map(
    ([module, name]) => [module, join(recipesFolder, name)] as const,
  )
  const sources = await Promise.all(replacements.map(([, source]) => contentsOf(source)))
  const replaced = Object.fromEntries(replacements)
  if ('module' in recipe) {
    const whole = { ...recipe, replaced }
    const { seconds: _, ...inputs } = recipe
    return {
      name,
      inputs: [inputs, sources, quickFlags],
      build: build((folder, options) => buildGoPrograms(whole, folder, options)),
    }
  }
  const source = join(recipesFolder, recipe.folder)
  return {
    name,
    inputs: [await contentsOf(source), sources, quickFlags],
    build: build((folder, options) => buildGoFolder(source, name, folder, options, replaced)),
  }
}

/** Whether every program that a recipe makes has been compiled. */
export async function allProgramsBuilt(options: SupplyOptions): Promise<boolean> {
  const names = Object.keys(await programRecipes())
  const built = await Promise.all(names.map(async name => isBuilt(await programBuild(name, options), options)))
  return !built.includes(false)
}
