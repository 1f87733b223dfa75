import { readFile } from 'node:fs/promises'
import { type Journal, openJournal, type PlannedChange } from '../journal/journal.ts'
import { clusterGroup } from '../platform/ingress-routes.ts'
import type { Platform, Route } from '../platform/platform.ts'
import { composeOptions } from '../stack/compose.ts'
import { root } from '../system/checkout.ts'
import { hasTool } from '../system/exec.ts'
import { detectHost, packageManagerOf } from '../system/machine.ts'
import { acquireRoot, asRoot, isRoot, type Privilege, type PrivilegeNeed } from '../system/privilege.ts'
import { type Routing, retireOtherEngines } from './apply.ts'
import type { RoutingMachine } from './choose.ts'
import { type EngineName, type RouteChange, type RouteEngine, scopeOf } from './engine.ts'
import { ensureLoopbackAliases, loopbackScope } from './loopback.ts'
import { publishEngine } from './publish.ts'
import { socatEngine } from './socat.ts'
import { systemdEngine } from './systemd.ts'

export interface RoutingOptions {
  /** The engine in charge, as chooseEngine named it. */
  engine: EngineName
  machine: RoutingMachine
  privilege: Privilege
  /** Change nothing; `planned` then says what would have been done. */
  dryRun?: boolean
}

/** The engines of this machine over the journal of this platform. */
export interface OpenRouting extends Routing {
  /** What a dry run left out, in order. */
  planned(): PlannedChange[]
}

/** Puts the engine in charge and the others of this machine together. Nothing is read or changed yet. */
export function openRouting(
  platform: Platform,
  { engine, machine, privilege, dryRun = false }: RoutingOptions,
): OpenRouting {
  const journals: Journal[] = []
  const open = (scope: string) => {
    const journal = openJournal({ stateDir: platform.paths.stateDir, privilege, scope, dryRun })
    journals.push(journal)
    return journal
  }
  const { cwd: stateDir, env: environment } = composeOptions(platform)
  const engines: RouteEngine[] = [
    socatEngine(open, privilege, dryRun),
    publishEngine(platform),
    // without systemd, units in /etc are files that nobody reads: a sandbox sees those of its host
    ...(machine.systemd
      ? [
          systemdEngine({
            openJournal: open,
            proxy: machine.proxy ?? '',
            boot: { root, stateDir, environment, network: platform.settings.MACULA_SUBNET },
          }),
        ]
      : []),
  ]
  const [chosen, others] = [
    engines.filter(({ name }) => name === engine),
    engines.filter(({ name }) => name !== engine),
  ]
  return {
    engine: chosen[0]!,
    others,
    planned: () => journals.flatMap(({ planned }) => planned).filter(({ what }) => what !== ''),
  }
}

/** Installs what the engine needs and does not have: socat, where that is the one in charge. */
export async function ensureForwarder(
  platform: Platform,
  { engine, privilege, dryRun = false }: RoutingOptions,
): Promise<{ outcome: 'unchanged' | 'created' | 'updated'; planned: readonly PlannedChange[] }> {
  if (engine !== 'socat' || (await hasTool('socat'))) return { outcome: 'unchanged', planned: [] }
  const host = await detectHost(platform.settings.MACULA_OS)
  const journal = openJournal({ stateDir: platform.paths.stateDir, privilege, scope: scopeOf('socat'), dryRun })
  const outcome = await journal.installPackages(packageManagerOf(host, 'socat'), ['socat'])
  return { outcome, planned: journal.planned }
}

/**
 * Takes away what other engines hold when containers are about to publish the same addresses themselves, those of Compose or, for `cluster`,
 * the KinD node; and gives macOS these addresses. Becomes root, asking through `person`, only where there is something to do.
 */
export async function makeWayForPublishing(
  platform: Platform,
  machine: RoutingMachine,
  of: 'compose' | 'cluster',
  person: Pick<PrivilegeNeed, 'interactive' | 'say'>,
): Promise<'unchanged' | 'updated'> {
  const owns = (group: string) => (group === clusterGroup) === (of === 'cluster')
  const act = async (privilege: Privilege, dryRun: boolean) => {
    const routing = openRouting(platform, { engine: 'publish', machine, privilege, dryRun })
    const { stateDir } = platform.paths
    const journal = openJournal({ stateDir, privilege, scope: loopbackScope, dryRun })
    const retired = await retireOtherEngines(owns, routing)
    const aliases = await ensureLoopbackAliases(platform, journal)
    return {
      isNeeded: retired.length > 0 || aliases !== 'unchanged',
      planned: [...routing.planned(), ...journal.planned],
    }
  }
  const { isNeeded, planned } = await act(asRoot, true)
  if (!isNeeded) return 'unchanged'
  const privilege = await acquireRoot({
    reason: `free the addresses that ${of === 'cluster' ? 'the cluster is' : 'containers are'} to publish`,
    commands: planned.map(({ command }) => command),
    interactive: person.interactive,
    say: person.say,
  })
  await act(privilege, false)
  return 'updated'
}

/**
 * Whether planned changes need root: units always do, and so do ports that this kernel keeps for root, and packages.
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
  return engine !== 'socat' || !planned.every(isProcess) || (await anyPrivileged(changed))
}

async function anyPrivileged(routes: readonly Route[]): Promise<boolean> {
  const first = await readFile('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8').catch(() => '1024')
  return routes.some(({ listen }) => listen.port < Number(first))
}
