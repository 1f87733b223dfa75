import { engineFolder } from '../docker.ts'
import { ask, hasTool, type Runner } from '../exec.ts'
import type { Host } from '../host.ts'
import type { Platform, Route } from '../platform.ts'
import { listeners } from '../ports.ts'
import { asRoot } from '../privilege.ts'
import { chooseEngine, type RoutingMachine } from '../routes/choose.ts'
import { means } from '../routes/engine.ts'
import { openRouting } from '../routes/setup.ts'
import { clusterCheck } from './cluster.ts'
import { dnsCheck } from './dns.ts'
import { composeCheck, engineCheck, logFilesCheck } from './engine.ts'
import type { Check } from './finding.ts'
import { firewallCheck } from './firewall.ts'
import { subnetCheck } from './network.ts'
import { type AddressState, addressStates, portsCheck } from './ports.ts'
import { diskCheck, inotifyCheck, memoryCheck } from './resources.ts'

/** What start-infrastructure cannot do without. */
export function stackChecks(platform: Platform, machine: RoutingMachine, asker: Runner = ask): Check[] {
  return [
    engineCheck(asker, hasTool),
    composeCheck(asker, hasTool),
    portsCheck(() => examineAddresses(platform, machine)),
    subnetCheck(platform, asker),
  ]
}

/** Every address the platform listens on, with what stands there now. */
export async function examineAddresses(platform: Platform, machine: RoutingMachine): Promise<AddressState[]> {
  const [table, routes] = await Promise.all([listeners(), installedRoutes(platform, machine)])
  return addressStates(platform, table, routes)
}

/** Every check of the doctor, in the order of its table. */
export function allChecks(platform: Platform, machine: RoutingMachine, host: Host): Check[] {
  const folder = engineFolder()
  return [
    ...stackChecks(platform, machine),
    routingCheck(platform, machine),
    logFilesCheck(platform.settings.DOCKER_DATA_ROOT, folder),
    dnsCheck(platform, host),
    firewallCheck(platform, host),
    diskCheck(platform.places.stateDir, folder),
    memoryCheck(),
    inotifyCheck(),
    clusterCheck(platform),
  ]
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

/** Routes that any engine of this machine holds now. */
async function installedRoutes(platform: Platform, machine: RoutingMachine): Promise<Route[]> {
  const { engine, others } = openRouting(platform, { engine: 'socat', machine, privilege: asRoot })
  return (await Promise.all([engine, ...others].map(each => each.installed()))).flat()
}
