import { openJournal } from '../journal/journal.ts'
import { exposureOf } from '../platform/env-file.ts'
import { type Owner, ownerOf } from '../platform/owner.ts'
import type { Platform, Route } from '../platform/platform.ts'
import type { Routing } from '../routes/apply.ts'
import { chooseEngine, type RoutingMachine } from '../routes/choose.ts'
import { type EngineName, means } from '../routes/engine.ts'
import { openRouting } from '../routes/setup.ts'
import type { EngineFacts } from '../stack/engine.ts'
import { $, hasTool } from '../system/exec.ts'
import type { Host } from '../system/machine.ts'
import { listeners } from '../system/ports.ts'
import { asRoot } from '../system/privilege.ts'
import { clusterCheck } from './cluster.ts'
import { dnsCheck } from './dns.ts'
import { composeCheck, engineCheck, logFilesCheck, ownershipCheck } from './engine.ts'
import type { Check } from './finding.ts'
import { firewallCheck } from './firewall.ts'
import { installationCheck } from './installation.ts'
import { subnetCheck } from './network.ts'
import { type AddressState, addressStates, portsCheck } from './ports.ts'
import { diskCheck, inotifyCheck, memoryCheck } from './resources.ts'

/** What start-infrastructure cannot do without. */
export function stackChecks(platform: Platform, machine: RoutingMachine, facts: Promise<EngineFacts>): Check[] {
  return [
    engineCheck($, hasTool, facts),
    composeCheck($, hasTool, facts),
    portsCheck(() => examineAddresses(platform, machine)),
    subnetCheck(platform),
  ]
}

/** Every address the platform listens on, with what stands there now. */
export async function examineAddresses(platform: Platform, machine: RoutingMachine): Promise<AddressState[]> {
  const [table, routes] = await Promise.all([listeners(), installedRoutes(platform, machine)])
  return addressStates(platform, table, routes)
}

/** Every check of the doctor, in the order of its table. */
export function allChecks(
  platform: Platform,
  machine: RoutingMachine,
  host: Host,
  facts: Promise<EngineFacts>,
): Check[] {
  return [
    settingsFileCheck(platform),
    ...stackChecks(platform, machine, facts),
    ownershipCheck(platform, facts),
    routingCheck(platform, machine),
    logFilesCheck(platform.settings.DOCKER_DATA_ROOT, facts),
    installationCheck(platform, owner =>
      lookingRouting(platform, machine, chooseEngine(platform.settings.ROUTING, machine))(owner),
    ),
    dnsCheck(platform, host),
    firewallCheck(platform, host, facts),
    diskCheck(platform.paths.stateDir, facts),
    memoryCheck(),
    inotifyCheck(),
    clusterCheck(platform),
  ]
}

function settingsFileCheck({ paths }: Platform): Check {
  return {
    name: 'Settings',
    async look() {
      const exposure = await exposureOf(paths)
      return [
        { check: 'Settings', ...(exposure ? { state: 'warn', ...exposure } : { state: 'ok', detail: paths.envFile }) },
      ]
    },
  }
}

function routingCheck({ settings }: Platform, machine: RoutingMachine): Check {
  return {
    name: 'Routing',
    async look() {
      const engine = chooseEngine(settings.ROUTING, machine)
      const missing = engine === 'socat' && !(await hasTool('socat'))
      const detail = `${engine}: ${means[engine]}${missing ? '; socat will be installed' : ''}`
      return [{ check: 'Routing', state: 'ok', detail }]
    },
  }
}

/** Routes that any engine of this machine holds now; those that containers publish are known by the containers. */
async function installedRoutes(platform: Platform, machine: RoutingMachine): Promise<Route[]> {
  const { engine, others } = lookingRouting(platform, machine, 'socat')(await ownerOf(platform.paths, true))
  const engines = [engine, ...others].filter(({ name }) => name !== 'publish')
  return (await Promise.all(engines.map(each => each.installed()))).flat()
}

/** The engines of this machine, to look at only. */
function lookingRouting(platform: Platform, machine: RoutingMachine, engine: EngineName): (owner: Owner) => Routing {
  const { stateDir } = platform.paths
  const open = (scope: string) => openJournal({ stateDir, privilege: asRoot, scope, dryRun: true })
  return owner => openRouting(platform, { engine, machine, privilege: asRoot, owner, open, dryRun: true })
}
