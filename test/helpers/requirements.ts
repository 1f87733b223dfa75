import { spawnSync } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { pathsOf } from '../../lib/platform/settings.ts'
import { requireSandboxMachine } from '../../lib/sandbox/requirements.ts'
import { messageOf } from '../../lib/system/errors.ts'

/** Why test machines cannot run on this computer; false where they can. Made for the `skip` of node:test. */
export async function noMachines(): Promise<string | false> {
  try {
    await requireSandboxMachine(pathsOf().cacheDir, 'tests')
  } catch (error) {
    return `no test machines here: ${messageOf(error)}`
  }
  const cgroups = await access('/sys/fs/cgroup', constants.W_OK).then(
    () => true,
    () => false,
  )
  return cgroups ? false : 'no test machines here: systemd in a container needs a writable /sys/fs/cgroup'
}

/** Why a mount namespace of our own cannot be had; false where it can. */
export function noMounts(): string | false {
  return spawnSync('unshare', ['--mount', 'true']).status === 0 ? false : 'needs root for a mount namespace'
}
