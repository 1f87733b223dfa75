import { copyFile, cp, link, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { PlatformError } from '../errors.ts'
import { keyOf, type SupplyOptions } from './cache.ts'
import { type DockerClient, dockerClient, type EngineAddress } from './docker-client.ts'
import { contentsOf, ensureProgram, recipesFolder } from './programs.ts'
import { ensureRootfs } from './rootfs.ts'

export interface StandInOptions extends SupplyOptions {
  docker: EngineAddress
  /** PATH of this process. */
  path: string
}

const catalogue = z.strictObject({
  bases: z.record(z.string(), z.strictObject({ suite: z.string(), hooks: z.string(), packages: z.array(z.string()) })),
  images: z.record(
    z.string(),
    z.strictObject({
      folder: z.string(),
      base: z.string().optional(),
      programs: z.array(z.string()).default([]),
      emptyFolders: z.array(z.string()).default([]),
    }),
  ),
})

export type StandInCatalogue = z.infer<typeof catalogue>

/** Which images can be stood in for, and with what. */
export async function standInCatalogue(): Promise<StandInCatalogue> {
  return catalogue.parse(parse(await readFile(join(recipesFolder, 'images.yaml'), 'utf8')))
}

/** `registry.example.com:5000/a/b:1.2@sha256:…` → `registry.example.com:5000/a/b`; Docker Hub's own names without their long form. */
export function repositoryOf(image: string): string {
  return image
    .replace(/@.*$/, '')
    .replace(/:[^/:]*$/, '')
    .replace(/^(docker\.io\/)?(library\/)?/, '')
}

/**
 * Puts a stand-in into the engine under each of these names: one promise per image, in the catalogue's order (quick ones first), so that whoever
 * waits for one need not wait for all. An image that the engine has already under that name is left alone. A promise is rejected with a
 * PlatformError when there is no recipe for the image or it cannot be built; the others go on.
 */
export async function ensureStandIns(
  images: readonly string[],
  options: StandInOptions,
): Promise<Map<string, Promise<'unchanged' | 'created'>>> {
  const known = await standInCatalogue()
  const order = Object.keys(known.images)
  const place = (image: string) => order.indexOf(repositoryOf(image))
  const wanted = [...new Set(images)].sort((one, other) => place(one) - place(other))
  const client = await dockerClient(options.docker, options.path)
  const supply = createSupply(known, client, options)
  const results = new Map(wanted.map(image => [image, supply(image)]))
  // also keeps a failure that nobody waits for yet from ending the process
  void Promise.allSettled(results.values()).then(() => client.close())
  return results
}

type Supply = (image: string) => Promise<'unchanged' | 'created'>

function createSupply(known: StandInCatalogue, client: DockerClient, options: StandInOptions): Supply {
  // each base, program and image once, however many ask for it; built in the order in which they are asked for
  const once = memory()
  const inEngine = (image: string, make: () => Promise<void>) =>
    once(`image ${image}`, async () => {
      if (!(await client.has(image))) await make()
      return image
    })

  const ensureBase = async (name: string): Promise<string> => {
    const recipe = known.bases[name]
    if (!recipe) return ensureImage(name)
    const file = await once(`base ${name}`, () =>
      ensureRootfs({ ...recipe, name, hooks: join(recipesFolder, recipe.hooks) }, options),
    )
    // the folder is named after everything that went into it
    const image = `macula-standin/${basename(dirname(file))}`.replace(/-([0-9a-f]+)$/, ':$1')
    return inEngine(image, async () => void (await client.run(['import', file, image])))
  }

  const ensureImage = async (repository: string): Promise<string> => {
    const recipe = known.images[repository]
    if (!recipe) {
      throw new PlatformError(`There is no stand-in for the image ${repository}`, {
        why: `test/images/images.yaml knows ${Object.keys(known.images).join(', ')}`,
        hint: 'Bring it from a machine with a network: `task images -- save FILE` there, `task images -- load FILE` here',
      })
    }
    const folder = join(recipesFolder, recipe.folder)
    const base = recipe.base ? await ensureBase(recipe.base) : undefined
    const programs = await Promise.all(
      recipe.programs.map(name => once(`program ${name}`, () => ensureProgram(name, options))),
    )
    const image = `macula-standin/${recipe.folder}:${keyOf([await contentsOf(folder), recipe, base, programs.map(path => basename(path))])}`
    return inEngine(image, async () => {
      options.report?.({ what: recipe.folder, state: 'building', detail: 'building the image' })
      const context = await stage(folder, programs, recipe.emptyFolders)
      try {
        const baseArgument = base ? ['--build-arg', `BASE=${base}`] : []
        await client.run(['build', '--quiet', '--network', 'none', ...baseArgument, '--tag', image, context])
      } finally {
        await rm(context, { recursive: true, force: true })
      }
    })
  }

  return async image => {
    if (await client.has(image)) return 'unchanged'
    const started = Date.now()
    await client.run(['tag', await ensureImage(repositoryOf(image)), image])
    options.report?.({ what: image, state: 'ready', detail: 'stand-in', seconds: (Date.now() - started) / 1000 })
    return 'created'
  }
}

/** A build context: the recipe's folder, the programs beside its Dockerfile, and folders that git cannot keep. */
async function stage(folder: string, programs: readonly string[], emptyFolders: readonly string[]): Promise<string> {
  const context = await mkdtemp(join(tmpdir(), 'macula-image-'))
  await cp(folder, context, { recursive: true })
  for (const path of programs) {
    for (const program of await readdir(path)) {
      // the same file where cache and context share a disk: some of them have 200 MB
      await link(join(path, program), join(context, program)).catch(() =>
        copyFile(join(path, program), join(context, program)),
      )
    }
  }
  for (const name of emptyFolders) await mkdir(join(context, name), { recursive: true })
  return context
}

function memory(): <T>(key: string, make: () => Promise<T>) => Promise<T> {
  const made = new Map<string, Promise<unknown>>()
  return <T>(key: string, make: () => Promise<T>) => {
    const promise = made.get(key) ?? make()
    made.set(key, promise)
    return promise as Promise<T>
  }
}
