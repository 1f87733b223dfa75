import { join } from 'node:path'
import { ensureBuilt, type SupplyOptions } from './cache.ts'
import { type DebianPackage, unpackPackages } from './debian.ts'

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
