import { mkdir, readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { sizeOf } from '../supply/sizes.ts'
import { PlatformError } from '../system/errors.ts'
import { $, hasTool } from '../system/exec.ts'
import { isRoot } from '../system/privilege.ts'
import { allProgramsBuilt } from './programs.ts'
import { prunable } from './prune.ts'

/** Programs a sandbox is made with, and the Debian packages they come from; a Debian machine always has them. */
const tools: Readonly<Record<string, string>> = {
  unshare: 'util-linux',
  nsenter: 'util-linux',
  flock: 'util-linux',
  setsid: 'util-linux',
  mount: 'mount',
  find: 'findutils',
}

/** Engine, programs and file systems, the images of all services and of a node, unpacked, with room for containers: measured 6 GB. */
const keptBytes = 8e9
/** Go's caches on top of that while programs are compiled; they go when all are there. */
const compilingBytes = 8e9

/** Bytes on the disk of the cache that a start may need now. */
async function neededBytes(cacheDir: string): Promise<number> {
  const there = await sizeOf(join(cacheDir, 'built'))
  return Math.max(2e9, keptBytes - there) + ((await allProgramsBuilt({ cacheDir })) ? 0 : compilingBytes)
}

/**
 * Looks whether this machine can have a sandbox, before anything is made.
 * Throws with the command to run, or what to change, for the first thing that is missing.
 */
export async function requireSandboxMachine(cacheDir: string, name: string): Promise<void> {
  if (process.platform !== 'linux') {
    throw new PlatformError('A sandbox needs Linux: it is made of Linux namespaces', {
      hint: 'task setup   # sets the platform up on this machine itself',
    })
  }
  if (!isRoot()) {
    throw new PlatformError('A sandbox needs root: only root can make a network and mounts of its own', {
      hint: 'sudo --preserve-env=HOME env "PATH=$PATH" npm run sandbox',
    })
  }
  for (const [tool, name] of Object.entries(tools)) {
    if (!(await hasTool(tool))) throw new PlatformError(`${tool} is not installed`, { hint: `apt-get install ${name}` })
  }
  const filesystems = async () => readFile('/proc/filesystems', 'utf8')
  if (!(await filesystems()).includes('\toverlay\n')) {
    // many kernels load it when it is first used; asking for it by name is the same
    await $({ nothrow: true })`modprobe overlay`.catch(() => {})
    if (!(await filesystems()).includes('\toverlay\n'))
      throw new PlatformError(
        'This kernel has no overlay filesystem, which keeps the changes of a sandbox off the machine',
        {
          hint: 'modprobe overlay',
        },
      )
  }
  const unshare = await $({ nothrow: true })`unshare --net --mount --pid --fork --mount-proc true`
  if (unshare.exitCode !== 0) {
    throw new PlatformError('This machine does not let root make namespaces of its own', {
      why: unshare.stderr.trim(),
      hint: 'In a container, run it with --privileged',
    })
  }
  await mkdir(cacheDir, { recursive: true })
  const { bavail, bsize } = await statfs(cacheDir)
  const needed = await neededBytes(cacheDir)
  if (bavail * bsize >= needed) return
  const freeable = (await prunable(cacheDir, name)).map(({ what, bytes }) => `${what}: ${gigabytes(bytes)} GB`)
  throw new PlatformError(
    `${cacheDir} has ${gigabytes(bavail * bsize)} GB free, the sandbox needs up to ${gigabytes(needed)} GB`,
    {
      why: freeable.join('\n'),
      hint:
        freeable.length > 0
          ? 'task sandbox -- --prune   # removes these'
          : 'Make room, or set XDG_CACHE_HOME to a folder on a larger disk',
    },
  )
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1)
}
