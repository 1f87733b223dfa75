import type { Settings } from '../platform/settings.ts'
import { engine, HungEngine } from '../stack/engine.ts'
import { PlatformError } from '../system/errors.ts'
import { $, type Shell } from '../system/exec.ts'
import { firstThatExists } from '../system/files.ts'
import { systemdRuns } from '../system/systemd.ts'
import type { EngineName } from './engine.ts'

/** Folders in which distributions keep systemd's own programs. */
const systemdFolders = ['/usr/lib/systemd', '/lib/systemd']

/** What decides which engine a machine can use. */
export interface RoutingMachine {
  platform: NodeJS.Platform
  /** systemd is what this machine was booted with. */
  systemd: boolean
  /** Path of systemd-socket-proxyd, where there is one. */
  proxy: string | undefined
  /** Whether addresses of containers can be reached from here; not so with Docker Desktop and rootless engines. */
  containersReachable: boolean
}

/** What this machine has. */
export async function inspectMachine(shell: Shell = $): Promise<RoutingMachine> {
  const [systemd, proxy, containersReachable] = await Promise.all([
    systemdRuns(),
    firstThatExists(systemdFolders.map(folder => `${folder}/systemd-socket-proxyd`)),
    reachesContainers(shell),
  ])
  return { platform: process.platform, systemd, proxy, containersReachable }
}

/**
 * The engine to use: the one that `ROUTING` names, or with `auto` the best that this machine has.
 * Throws where the named one cannot work here.
 */
export function chooseEngine(routing: Settings['ROUTING'], machine: RoutingMachine): EngineName {
  const { platform, systemd, proxy, containersReachable } = machine
  const systemdWorks = systemd && proxy !== undefined
  if (routing === 'auto') {
    if (platform === 'darwin' || !containersReachable) return 'publish'
    return systemdWorks ? 'systemd' : 'socat'
  }
  if (routing === 'systemd' && !systemdWorks) {
    throw unusable(
      routing,
      systemd
        ? `systemd-socket-proxyd is not in ${systemdFolders.join(' or ')}`
        : 'This machine was not booted by systemd',
    )
  }
  if (routing !== 'publish' && !containersReachable) {
    throw unusable(
      routing,
      'The Docker engine runs in a machine of its own (Docker Desktop) or rootless: containers have no address here',
    )
  }
  return routing as EngineName
}

function unusable(routing: string, why: string): PlatformError {
  return new PlatformError(`ROUTING=${routing} cannot work on this machine`, { why, hint: 'Set ROUTING=auto in .env' })
}

/** Where the engine runs does not change while a run lasts, and most steps of a setup depend on it. */
let known: boolean | undefined

// An engine that does not run does not change the choice: doctor and start-infrastructure report that. One that hangs leaves it open.
async function reachesContainers(shell: Shell): Promise<boolean> {
  if (shell === $ && known !== undefined) return known
  try {
    // `docker info` would tell as well, but first runs each of the client's plugins, which takes three times as long
    const format = '{{.Server.Platform.Name}}{{range .Server.Components}} {{.Name}}{{end}}'
    const { stdout } = await engine(shell)`docker version --format ${format}`
    const reaches = !/Docker Desktop|rootlesskit/.test(stdout)
    if (shell === $) known = reaches
    return reaches
  } catch (error) {
    if (error instanceof HungEngine) throw error
    return true
  }
}
