import { type Journal, type Outcome, openJournal, type PlannedChange } from '../journal/journal.ts'
import { clusterGroup } from '../platform/ingress-routes.ts'
import { type Owner, ownerOf } from '../platform/owner.ts'
import type { Platform, Route } from '../platform/platform.ts'
import { composeOptions } from '../stack/compose.ts'
import { root } from '../system/checkout.ts'
import { hasTool } from '../system/exec.ts'
import { detectHost, packageManagerOf } from '../system/machine.ts'
import { acquireRoot, asRoot, isRoot, type Privilege, type PrivilegeNeed } from '../system/privilege.ts'
import { procText } from '../system/proc.mjs'
import { type Routing, retireOtherEngines } from './apply.ts'
import type { RoutingMachine } from './choose.ts'
import {
  type EngineName,
  type OpenJournal,
  type RouteChange,
  type RouteCommands,
  type RouteEngine,
  scopeOf,
} from './engine.ts'
import { ensureLoopbackAliases, loopbackScope } from './loopback.ts'
import { publishEngine } from './publish.ts'
import { socatEngine } from './socat.ts'
import { systemdEngine } from './systemd.ts'

export interface RoutingOptions {
  /** The engine in charge, as chooseEngine named it. */
  engine: EngineName
  machine: RoutingMachine
  privilege: Privilege
  owner: Owner
  open: OpenJournal
  /** How routes are forwarded; without it they can be looked at and removed only. */
  commands?: RouteCommands
  /** Count what this checkout made before it had its present id as ours. */
  adopt?: boolean
  /** Change nothing; the journals then list what would have been done. */
  dryRun?: boolean
}

const noCommands: RouteCommands = {
  systemd: () => Promise.reject(new Error('no command to start sockets with')),
  socat: () => [],
}

/** Puts the engine in charge and the others of this machine together. Nothing is read or changed yet. */
export function openRouting(
  platform: Platform,
  { engine, machine, privilege, owner, open, commands = noCommands, adopt = false, dryRun = false }: RoutingOptions,
): Routing {
  const { env: environment } = composeOptions(platform)
  const boot = { root, owner, environment, network: platform.settings.MACULA_SUBNET }
  const engines: RouteEngine[] = [
    socatEngine({ openJournal: open, privilege, owner, command: commands.socat, adopt, dryRun }),
    publishEngine(platform),
    // without systemd, units in /etc are files that no program reads: a sandbox sees those of its host
    ...(machine.systemd
      ? [systemdEngine({ openJournal: open, proxy: machine.proxy ?? '', boot, enable: commands.systemd, adopt })]
      : []),
  ]
  const isChosen = ({ name }: RouteEngine) => name === engine
  return { engine: engines.find(isChosen)!, others: engines.filter(each => !isChosen(each)) }
}

/** Installs what the engine needs and does not have: socat, where that is the one in charge. */
export async function installForwarder(
  { settings }: Platform,
  { engine, open }: Pick<RoutingOptions, 'engine' | 'open'>,
): Promise<Outcome> {
  if (engine !== 'socat' || (await hasTool('socat'))) return 'unchanged'
  const host = await detectHost(settings.MACULA_OS)
  return open(scopeOf('socat')).installPackages(packageManagerOf(host, 'socat'), ['socat'])
}

/**
 * Removes what other engines hold when containers are about to publish the same addresses themselves, those of Compose or, for `cluster`,
 * the KinD node; and gives macOS these addresses. Becomes root, with a prompt through `person`, only where there is something to do.
 */
export async function makeWayForPublishing(
  platform: Platform,
  machine: RoutingMachine,
  of: 'compose' | 'cluster',
  person: Pick<PrivilegeNeed, 'interactive' | 'say' | 'alone'>,
): Promise<'unchanged' | 'updated'> {
  const owns = (group: string) => (group === clusterGroup) === (of === 'cluster')
  const { stateDir } = platform.paths
  const act = async (privilege: Privilege, dryRun: boolean) => {
    const journals: Journal[] = []
    const open = (scope: string) => {
      const journal = openJournal({ stateDir, privilege, scope, dryRun })
      journals.push(journal)
      return journal
    }
    const owner = await ownerOf(platform.paths, dryRun)
    const routing = openRouting(platform, { engine: 'publish', machine, privilege, owner, open, dryRun })
    const retired = await retireOtherEngines(owns, routing)
    const aliases = await ensureLoopbackAliases(platform, owner, open(loopbackScope))
    return {
      isNeeded: retired.length > 0 || aliases !== 'unchanged',
      commands: journals.flatMap(({ planned }) => planned).map(({ command }) => command),
    }
  }
  const { isNeeded, commands } = await act(asRoot, true)
  if (!isNeeded) return 'unchanged'
  const reason = `free the addresses that ${of === 'cluster' ? 'the cluster is' : 'containers are'} to publish`
  await act(await acquireRoot({ ...person, reason, commands }), false)
  return 'updated'
}

/**
 * Whether planned changes need root: units always do, and so do ports that this kernel reserves for root, and packages.
 * A user's own socat on a high port does not.
 */
export async function needsRoot(
  engine: EngineName,
  changes: readonly RouteChange[],
  planned: readonly PlannedChange[],
): Promise<boolean> {
  const changed = changes.filter(({ outcome }) => outcome !== 'unchanged').map(({ route }) => route)
  if (isRoot() || (changed.length === 0 && planned.length === 0)) return false
  const isProcess = ({ command }: PlannedChange) => /^(setsid|# ends) /.test(command)
  return engine !== 'socat' || !planned.every(isProcess) || anyPrivileged(changed)
}

function anyPrivileged(routes: readonly Route[]): boolean {
  const first = procText('sys/net/ipv4/ip_unprivileged_port_start') ?? '1024'
  return routes.some(({ listen }) => listen.port < Number(first))
}
