import { join } from 'node:path'
import { boundToUs } from '../supply/bound.ts'
import { ensureBuilt, type SupplyOptions } from '../supply/cache.ts'
import { machineSuite, unpackPackages } from '../supply/debian.ts'
import { PlatformError } from '../system/errors.ts'
import { $, hasTool } from '../system/exec.ts'

/**
 * Runs mmdebstrap, which makes root file systems out of Debian packages: the machine's own, else that of its release, unpacked into the
 * cache. Needs Debian's apt, and root or user namespaces. Throws with mmdebstrap's last lines.
 */
export async function mmdebstrap(words: readonly string[], options: SupplyOptions): Promise<void> {
  await boundToUs({ signal: options.signal })`${await programFor(options)} ${words}`
}

/** Shell command for a hook of mmdebstrap after all packages are in: takes away what nobody reads in a container. */
export const withoutManuals = `rm -rf ${['doc', 'info', 'locale', 'man'].map(name => `"$1"/usr/share/${name}/*`).join(' ')}`

async function programFor(options: SupplyOptions): Promise<string> {
  if (await hasTool('mmdebstrap')) return 'mmdebstrap'
  const packages = [{ name: 'mmdebstrap', suite: await machineSuite() }]
  const folder = await ensureBuilt(
    { name: 'mmdebstrap', inputs: packages, build: (folder, note) => unpackPackages(packages, folder, note) },
    options,
  )
  const program = join(folder, 'usr/bin/mmdebstrap')
  const { exitCode, stderr } = await $({ nothrow: true })`${program} --version`
  if (exitCode === 0) return program
  // one Perl script, which needs more than the Perl that is part of every Debian
  throw new PlatformError("Debian's mmdebstrap does not run here as it is; it makes the images that no registry has", {
    why: stderr.trim(),
    hint: 'apt-get update && apt-get install mmdebstrap',
  })
}
