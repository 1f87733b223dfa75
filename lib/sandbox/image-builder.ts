import { copyFile, cp, link, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureBuilt, folderName, isBuilt, keyOf, type SupplyOptions } from '../supply/cache.ts'
import { PlatformError } from '../system/errors.ts'
import type { DockerClient } from './docker-client.ts'
import { compilesAtOnce, programBuild } from './programs.ts'
import { contentsOf, type ImageCatalogue, type ImageRecipe, recipesFolder, repositoryOf } from './recipes.ts'
import { ensureRootfs, rootfsBuild, rootfsRecipe } from './rootfs.ts'

/** Builds the catalogue's images in one engine: each base, program and image once, however many need it. */
export interface ImageBuilder {
  /** The names of all images that the recipes make now, and of their bases. */
  names(): Promise<string[]>
  /** Whether the engine has what the recipe of this repository makes now. Throws when there is no recipe. */
  has(repository: string): Promise<boolean>
  /** Whether a program of it has yet to be compiled, which takes minutes where everything else takes seconds. */
  compiles(repository: string): Promise<boolean>
  /**
   * Name of that image, built if the engine does not have it. The name changes as soon as anything it is made of changes.
   * After `has` was asked for all of them, programs are compiled in the order of the calls.
   */
  ensure(repository: string): Promise<string>
}

export function createImageBuilder(
  catalogue: ImageCatalogue,
  client: DockerClient,
  options: SupplyOptions,
): ImageBuilder {
  const once = memory()
  const inOrder = firstComeFirstServed(compilesAtOnce)

  const recipeOf = (repository: string): ImageRecipe => {
    const recipe = catalogue.images[repository]
    if (recipe) return recipe
    throw new PlatformError(`There is no stand-in for the image ${repository}`, {
      why: `lib/sandbox/recipes/images.yaml knows ${Object.keys(catalogue.images).join(', ')}`,
      hint: 'Bring it from a machine with a network: `task images -- save FILE` there, `task images -- load FILE` here',
    })
  }
  const rootfsOf = (base: string) => rootfsRecipe(catalogue, base)

  const nameOf = (repository: string): Promise<string> =>
    once(`name ${repository}`, async () => {
      const recipe = recipeOf(repository)
      const inputs = [
        recipe,
        await contentsOf(join(recipesFolder, recipe.folder)),
        recipe.base && (await baseNameOf(recipe.base)),
        ...(await Promise.all(recipe.programs.map(async name => folderName(await programBuild(name, options))))),
        ...(await Promise.all((recipe.archive?.images ?? []).map(image => nameOf(repositoryOf(image))))),
      ]
      return `macula-standin/${recipe.folder}:${keyOf(inputs)}`
    })

  const baseNameOf = async (base: string): Promise<string> => {
    const rootfs = rootfsOf(base)
    if (!rootfs) return nameOf(base)
    return `macula-standin/${folderName(await rootfsBuild(rootfs, options)).replace(/-([^-]*)$/, ':$1')}`
  }

  const names = () =>
    Promise.all([...Object.keys(catalogue.images).map(nameOf), ...Object.keys(catalogue.bases).map(baseNameOf)])

  const ensureProgram = (name: string) =>
    once(`program ${name}`, () => inOrder(async () => ensureBuilt(await programBuild(name, options), options)))

  const ensureBase = (base: string): Promise<string> => {
    const rootfs = rootfsOf(base)
    if (!rootfs) return ensure(base)
    return once(`base ${base}`, async () => {
      const image = await baseNameOf(base)
      if (!(await client.has(image))) await client.run(['import', await ensureRootfs(rootfs, options), image])
      return image
    })
  }

  const has = (repository: string): Promise<boolean> =>
    once(`has ${repository}`, async () => client.has(await nameOf(repository)))

  const compiles = async (repository: string): Promise<boolean> => {
    if (await has(repository)) return false
    const { programs } = recipeOf(repository)
    const built = await Promise.all(programs.map(async name => isBuilt(await programBuild(name, options), options)))
    return built.includes(false)
  }

  const ensure = (repository: string): Promise<string> =>
    once(`image ${repository}`, async () => {
      const recipe = recipeOf(repository)
      const image = await nameOf(repository)
      if (!(await has(repository))) await build(repository, recipe, image)
      return image
    })

  const build = async (repository: string, recipe: ImageRecipe, image: string) => {
    const [base, programs] = await Promise.all([
      recipe.base && ensureBase(recipe.base),
      Promise.all(recipe.programs.map(ensureProgram)),
    ])
    const context = await mkdtemp(join(tmpdir(), 'macula-image-'))
    try {
      await stage(context, recipe, programs)
      if (recipe.archive) await archiveInto(join(context, recipe.archive.file), recipe.archive.images)
      options.report?.({ what: repository, state: 'building', detail: 'building the image' })
      const baseArgument = base ? ['--build-arg', `BASE=${base}`] : []
      await client.run(['build', '--quiet', '--network', 'none', ...baseArgument, '--tag', image, context])
    } finally {
      await rm(context, { recursive: true, force: true })
    }
  }

  const archiveInto = async (file: string, images: readonly string[]) => {
    await Promise.all(images.map(async image => client.run(['tag', await ensure(repositoryOf(image)), image])))
    await client.run(['save', '--output', file, ...images])
  }

  return { names, has, compiles, ensure }
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

/** Runs each action once per key; who asks again gets the same result. */
function memory(): <T>(key: string, make: () => Promise<T>) => Promise<T> {
  const made = new Map<string, Promise<unknown>>()
  return <T>(key: string, make: () => Promise<T>) => {
    const promise = made.get(key) ?? make()
    made.set(key, promise)
    return promise as Promise<T>
  }
}

/** Lets `count` actions run at a time and starts the others in the order in which they came. */
export function firstComeFirstServed(count: number): <T>(action: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async action => {
    if (running === count) await new Promise<void>(resume => waiting.push(resume))
    else running += 1
    try {
      return await action()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else running -= 1
    }
  }
}
