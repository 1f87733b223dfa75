import { copyFile, cp, link, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureBuilt, folderName, isBuilt, keyOf, type SupplyOptions } from '../supply/cache.ts'
import { compilesAtOnce } from '../supply/go.ts'
import { memory, queue } from '../supply/queue.ts'
import { PlatformError } from '../system/errors.ts'
import { contentsOf } from '../system/files.ts'
import type { DockerClient } from './docker-client.ts'
import { programBuild } from './programs.ts'
import { type ImageCatalogue, type ImageRecipe, programRecipe, recipesFolder, repositoryOf } from './recipes.ts'
import { ensureRootfs, rootfsBuild, rootfsRecipe } from './rootfs.ts'

/** Builds the catalogue's images in one engine: each base, program and image once, however many need it. */
export interface ImageBuilder {
  catalogue: ImageCatalogue
  client: DockerClient
  options: SupplyOptions
  /** What has been begun, by name. */
  once: ReturnType<typeof memory>
  /** Programs wait for their turn here. */
  compiling: ReturnType<typeof queue>
  /** File systems, too, one at a time, in the catalogue's order. */
  installing: ReturnType<typeof queue>
}

/** Installing packages keeps one processor busy, while others compile at a lower priority: what is wanted first is there first. */
const installsAtOnce = 1

export function createImageBuilder(
  catalogue: ImageCatalogue,
  client: DockerClient,
  options: SupplyOptions,
): ImageBuilder {
  const [compiling, installing] = [queue(compilesAtOnce), queue(installsAtOnce)]
  return { catalogue, client, options, once: memory(), compiling, installing }
}

/** The names of all images that the recipes make now, and of their bases. */
export function imageNames(builder: ImageBuilder): Promise<string[]> {
  const { images, bases } = builder.catalogue
  return Promise.all([
    ...Object.keys(images).map(repository => imageName(builder, repository)),
    ...Object.keys(bases).map(base => baseName(builder, base)),
  ])
}

/** Whether the engine has what the recipe of this repository makes now. Throws when there is no recipe. */
export function hasImage(builder: ImageBuilder, repository: string): Promise<boolean> {
  return builder.once(`has ${repository}`, async () => builder.client.has(await imageName(builder, repository)))
}

/** Whether a program of it has yet to be compiled, or its packages to be installed, which takes minutes where everything else takes seconds. */
export async function needsMinutes(builder: ImageBuilder, repository: string): Promise<boolean> {
  if (await hasImage(builder, repository)) return false
  const { programs, base } = recipeOf(builder, repository)
  const missing = await missingPrograms(builder, programs)
  return missing.length > 0 || (base !== undefined && !(await isBaseMade(builder, base)))
}

async function isBaseMade(builder: ImageBuilder, base: string): Promise<boolean> {
  const { catalogue, client, options } = builder
  const rootfs = rootfsRecipe(catalogue, base)
  if (!rootfs) return !(await needsMinutes(builder, base))
  return (await isBuilt(await rootfsBuild(rootfs, options), options)) || client.has(await baseName(builder, base))
}

/** Tells the report of every program that these images will make this run compile, theirs and those of images in them. */
export async function announceCompiles(builder: ImageBuilder, repositories: readonly string[]): Promise<void> {
  const inside = repositories.flatMap(repository =>
    (recipeOf(builder, repository).archive?.images ?? []).map(image => repositoryOf(image)),
  )
  for (const repository of new Set([...repositories, ...inside])) {
    if (await hasImage(builder, repository)) continue
    for (const name of await missingPrograms(builder, recipeOf(builder, repository).programs)) {
      const { seconds } = await programRecipe(name)
      builder.options.report?.({ what: name, state: 'queued', detail: 'queued', work: seconds })
    }
  }
}

async function missingPrograms({ options }: ImageBuilder, names: readonly string[]): Promise<string[]> {
  const built = await Promise.all(names.map(async name => isBuilt(await programBuild(name, options), options)))
  return names.filter((_, index) => !built[index])
}

/**
 * Name of the image that the recipe of this repository makes, built if the engine does not have it. The name changes as soon as anything it is made
 * of changes. After `hasImage` was called for all of them, programs are compiled in the order of the calls.
 */
export function ensureImage(builder: ImageBuilder, repository: string): Promise<string> {
  return builder.once(`image ${repository}`, async () => {
    const name = await imageName(builder, repository)
    if (!(await hasImage(builder, repository)))
      await build(builder, { ...recipeOf(builder, repository), what: `image ${repository}` }, name)
    return name
  })
}

/**
 * Name of a placeholder for the image of this repository, built now: it answers the service's health check, and nothing else. Undefined where the recipe
 * does not say what that is.
 */
export async function buildPlaceholder(builder: ImageBuilder, repository: string): Promise<string | undefined> {
  const { placeholder } = recipeOf(builder, repository)
  if (placeholder === undefined) return undefined
  const name = `macula-standin/placeholder:${repository.replaceAll('/', '-')}`
  const values = { NAME: repository, PORT: placeholder.port, HEALTH: placeholder.health }
  const words = Object.entries(values).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`])
  const recipe = { folder: 'placeholder-image', base: 'services', programs: ['placeholder'], emptyFolders: [] }
  await build(builder, { ...recipe, what: `placeholder for ${repository}` }, name, words)
  return name
}

function imageName(builder: ImageBuilder, repository: string): Promise<string> {
  return builder.once(`name ${repository}`, async () => {
    const recipe = recipeOf(builder, repository)
    const programs = recipe.programs.map(async name => folderName(await programBuild(name, builder.options)))
    const inner = (recipe.archive?.images ?? []).map(image => imageName(builder, repositoryOf(image)))
    const inputs = [
      recipe,
      await contentsOf(join(recipesFolder, recipe.folder)),
      recipe.base && (await baseName(builder, recipe.base)),
      ...(await Promise.all(programs)),
      ...(await Promise.all(inner)),
    ]
    return `macula-standin/${recipe.folder}:${keyOf(inputs)}`
  })
}

async function baseName(builder: ImageBuilder, base: string): Promise<string> {
  const rootfs = rootfsRecipe(builder.catalogue, base)
  if (!rootfs) return imageName(builder, base)
  return `macula-standin/${folderName(await rootfsBuild(rootfs, builder.options)).replace(/-([^-]*)$/, ':$1')}`
}

/** `what` it is, for people. */
async function build(
  builder: ImageBuilder,
  { what, ...recipe }: ImageRecipe & { what: string },
  name: string,
  words: readonly string[] = [],
): Promise<void> {
  const { client, options } = builder
  const inside = recipe.archive?.images ?? []
  const [base, programs, made] = await Promise.all([
    recipe.base && ensureBase(builder, recipe.base),
    Promise.all(recipe.programs.map(program => ensureProgram(builder, program))),
    Promise.all(inside.map(image => ensureImage(builder, repositoryOf(image)))),
  ])
  const context = await mkdtemp(join(tmpdir(), 'macula-image-'))
  try {
    await stage(context, recipe, programs)
    if (recipe.archive) await saveInto(client, join(context, recipe.archive.file), inside, made)
    const started = Date.now()
    options.report?.({ what, state: 'building', detail: 'building' })
    const baseArgs = base ? ['--build-arg', `BASE=${base}`] : []
    await client.$`docker build --quiet --network none ${baseArgs} ${words} --tag ${name} ${context}`
    options.report?.({ what, state: 'ready', detail: 'stand-in', seconds: (Date.now() - started) / 1000 })
  } finally {
    await rm(context, { recursive: true, force: true })
  }
}

function ensureProgram({ once, compiling, options }: ImageBuilder, name: string): Promise<string> {
  return once(`program ${name}`, () => compiling(async () => ensureBuilt(await programBuild(name, options), options)))
}

/** Name of the base in the engine: a root file system that is imported, or another image of the catalogue. */
function ensureBase(builder: ImageBuilder, base: string): Promise<string> {
  const { catalogue, client, options, once, installing } = builder
  const rootfs = rootfsRecipe(catalogue, base)
  if (!rootfs) return ensureImage(builder, base)
  const make = async () => {
    const name = await baseName(builder, base)
    if (await client.has(name)) return name
    await client.$`docker import ${await ensureRootfs(rootfs, options)} ${name}`
    return name
  }
  // its place is taken before anything is looked up: what is looked up first must not be what is installed first
  return once(`base ${base}`, () => installing(make, Object.keys(catalogue.bases).indexOf(base)))
}

/** Saves the images that were `made` under these names. */
async function saveInto(
  { $ }: DockerClient,
  file: string,
  names: readonly string[],
  made: readonly string[],
): Promise<void> {
  await Promise.all(names.map((name, index) => $`docker tag ${made[index]} ${name}`))
  await $`docker save --output ${file} ${names}`
}

function recipeOf({ catalogue }: ImageBuilder, repository: string): ImageRecipe {
  const recipe = catalogue.images[repository]
  if (recipe) return recipe
  throw new PlatformError(`There is no stand-in for the image ${repository}`, {
    why: `lib/sandbox/recipes/images.yaml knows ${Object.keys(catalogue.images).join(', ')}`,
    hint: 'Bring it from a machine with a network: `task images -- save FILE` there, `task images -- load FILE` here',
  })
}

/** Fills a build context: the recipe's folder, the programs beside its Dockerfile, and the folders that git cannot keep. */
async function stage(context: string, recipe: ImageRecipe, programFolders: readonly string[]): Promise<void> {
  await cp(join(recipesFolder, recipe.folder), context, { recursive: true })
  for (const folder of programFolders) {
    for (const program of await readdir(folder)) {
      const [from, to] = [join(folder, program), join(context, program)]
      // the same file where cache and context share a disk: some of them have 200 MB
      await link(from, to).catch(() => copyFile(from, to))
    }
  }
  for (const name of recipe.emptyFolders) await mkdir(join(context, name), { recursive: true })
}
