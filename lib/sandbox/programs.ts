import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { root } from '../env.ts'
import { PlatformError } from '../errors.ts'
import { ensureBuilt, type SupplyOptions, withOneOf } from './cache.ts'
import { type DebianPackage, unpackPackages } from './debian.ts'
import { buildGoFolder, buildGoPrograms } from './go.ts'

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

/** Docker engine, CLI, containerd, runc, Buildx, Compose and kind. Needs Debian's apt, not root, and no rights on the machine. */
export async function ensureEnginePrograms(options: SupplyOptions): Promise<EnginePrograms> {
  const folder = await ensureBuilt(
    {
      name: 'engine',
      inputs: enginePackages,
      build: (folder, note) => unpackPackages(enginePackages, folder, note),
    },
    options,
  )
  return {
    path: [join(folder, 'usr/sbin'), join(folder, 'usr/bin')].join(':'),
    cliPlugins: join(folder, 'usr/libexec/docker/cli-plugins'),
  }
}

/** Folder with the recipes of everything that is built where no image registry can be reached. */
export const recipesFolder = join(root, 'test/images')

/** Compiles at a time on one machine, over all processes: each of them keeps two processors busy and takes 2 to 4 GB of memory. */
const compilesAtOnce = 2

const recipe = z.union([
  z.strictObject({
    module: z.string(),
    version: z.string(),
    programs: z.record(z.string(), z.string()),
    variables: z.record(z.string(), z.string()).optional(),
    foldersAre: z.string().optional(),
  }),
  z.strictObject({ folder: z.string() }),
])

/**
 * The folder with the executables of the recipe `name` in `test/images/programs.yaml`, compiled now if no run before has done it.
 * Takes half a minute to a quarter of an hour the first time. Throws a PlatformError with the compiler's last lines.
 */
export async function ensureProgram(name: string, options: SupplyOptions): Promise<string> {
  const { cacheDir, report = () => {}, signal } = options
  const recipes = z
    .record(z.string(), recipe)
    .parse(parse(await readFile(join(recipesFolder, 'programs.yaml'), 'utf8')))
  const wanted = recipes[name]
  if (!wanted)
    throw new PlatformError(`No recipe builds a program ${name}`, { hint: 'Recipes: test/images/programs.yaml' })
  const slots = Array.from({ length: compilesAtOnce }, (_, number) => join(cacheDir, 'locks', `compile-${number + 1}`))
  const waiting = () => report({ what: name, state: 'waiting', detail: `${compilesAtOnce} other compiles run` })
  const source = 'folder' in wanted ? join(recipesFolder, wanted.folder) : undefined
  return ensureBuilt(
    {
      name,
      inputs: source ? await contentsOf(source) : wanted,
      build: (folder, note) =>
        withOneOf(slots, waiting, () =>
          'module' in wanted
            ? buildGoPrograms(wanted, folder, { note, signal })
            : buildGoFolder(source!, name, folder, { note, signal }),
        ),
    },
    options,
  )
}

/** Path and content of every file under `folder`, in a fixed order: what a build out of it depends on. */
export async function contentsOf(folder: string): Promise<[string, string][]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  return Promise.all(
    files
      .sort()
      .map(async (file): Promise<[string, string]> => [file.slice(folder.length + 1), await readFile(file, 'utf8')]),
  )
}
