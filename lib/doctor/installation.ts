import { foreignDns } from '../dns/setup.ts'
import { type Foreign, foreignError } from '../journal/foreign.ts'
import { clusterRoutes } from '../platform/ingress-routes.ts'
import { type Owner, ownerOf } from '../platform/owner.ts'
import type { Platform } from '../platform/platform.ts'
import { foreignRoutes, type Routing } from '../routes/apply.ts'
import { type Check, type Finding, findingOf } from './finding.ts'

/** Whether another installation of the platform has set this machine up: its DNS, and its routes as the engine in charge makes them. */
export function installationCheck(platform: Platform, routing: (owner: Owner) => Routing): Check {
  return {
    name: 'Installation',
    async look() {
      const owner = await ownerOf(platform.paths, true)
      const routes = [...platform.routes, ...clusterRoutes(platform)]
      const dns = foreignFindings('DNS settings', await foreignDns(platform, owner), 'setup-dnsmasq')
      const found = await foreignRoutes(routes, routing(owner))
      const findings = [...dns, ...foreignFindings('Routes', found, 'setup-observability-routing')]
      if (findings.length > 0) return findings
      return [{ check: 'Installation', state: 'ok', detail: 'no other one has set this machine up' }]
    },
  }
}

function foreignFindings(check: string, found: readonly Foreign[], task: string): Finding[] {
  const refused = found.filter(({ state }) => state !== 'lost')
  return refused.length === 0 ? [] : [findingOf(check, foreignError(refused, task))]
}
