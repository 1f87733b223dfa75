import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Build, ensureBuilt, type SupplyOptions } from '../supply/cache.ts'
import { acquireSettings, machineArchive } from '../supply/debian.ts'
import { contentsOf } from '../system/files.ts'
import { mmdebstrap, withoutManuals } from './mmdebstrap.ts'
import { type ImageCatalogue, recipesFolder } from './recipes.ts'

/** What installing leaves behind, and what mmdebstrap brings from this machine; taken away before the recipe's own hooks. */
const tidy = `${withoutManuals} && rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/* "$1"/etc/hostname "$1"/etc/resolv.conf`

/** A root file system out of Debian packages. */
export interface RootfsRecipe {
  name: string
  suite: string
  /** What mmdebstrap does with the packages: installs them on a minimal Debian, or only unpacks them. */
  variant: 'minbase' | 'extract'
  packages: readonly string[]
  /** Folder of scripts that mmdebstrap runs while it works. */
  hooks: string
}

/** The recipe of the catalogue's base `name`; undefined where it has none of that name. */
export function rootfsRecipe({ bases }: ImageCatalogue, name: string): RootfsRecipe | undefined {
  const recipe = bases[name]
  return recipe && { ...recipe, name, hooks: join(recipesFolder, recipe.hooks) }
}

/**
 * A tar file with the recipe's file system, made now if no run before has done it (half a minute to two). Needs root or user namespaces.
 * The packages are those of the day it is made: Debian's newest release has no other versions than the newest.
 */
export async function ensureRootfs(recipe: RootfsRecipe, options: SupplyOptions): Promise<string> {
  return join(await ensureBuilt(await rootfsBuild(recipe, options), options), 'rootfs.tar')
}

/** How the file system is built, and what decides what comes out. */
export async function rootfsBuild(
  { name, suite, variant, packages, hooks }: RootfsRecipe,
  options: SupplyOptions,
): Promise<Build> {
  const shared = variant === 'extract' ? await readFile(join(recipesFolder, 'unpacked.sh'), 'utf8') : undefined
  return {
    name: `rootfs-${name}`,
    inputs: { suite, variant, packages, hooks: await contentsOf(hooks), shared, tidy },
    async build(folder, note) {
      const { uri, keyring } = await machineArchive()
      const settings = join(folder, 'apt.conf')
      await writeFile(settings, `${(await acquireSettings()).join('\n')}\n`, { mode: 0o600 })
      note(`installing ${packages.length} Debian packages of ${suite}`)
      const words = [
        ...[`--variant=${variant}`, '--format=tar', '--quiet', `--aptopt=${settings}`],
        `--${variant === 'extract' ? 'extract' : 'customize'}-hook=${tidy}`,
        `--hook-dir=${hooks}`,
        `--include=${packages.join(',')}`,
        ...[suite, join(folder, 'rootfs.tar'), `deb [signed-by=${keyring}] ${uri} ${suite} main`],
      ]
      await mmdebstrap(words, options)
      await rm(settings)
    },
  }
}
