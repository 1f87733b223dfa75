import type { ResolverFacts } from '../dns/facts.ts'
import { planDns } from '../dns/setup.ts'
import { hasTool } from '../exec.ts'
import type { Host } from '../host.ts'
import type { Platform } from '../platform.ts'
import { unitState } from '../systemd.ts'
import { type Check, type Finding, findingOf } from './finding.ts'

/** How names would reach our dnsmasq on this machine, and what could keep them from it. */
export function dnsCheck(platform: Platform, host: Host): Check {
  const check = 'DNS'
  return {
    name: check,
    async look(): Promise<Finding[]> {
      try {
        const { adapter, dnsmasq, facts } = await planDns(platform, host)
        const { ip, port } = dnsmasq.listen
        const found: Finding = { check, state: 'ok', detail: `${adapter.title}; dnsmasq on ${ip}:${port}` }
        return [found, ...lookupFindings(facts, platform.domain), ...(await firewallFindings(host))]
      } catch (error) {
        return [findingOf(check, error)]
      }
    },
  }
}

/** What in the way this machine looks names up could keep them from us. */
export function lookupFindings({ lookupOrder, resolved }: ResolverFacts, domain: string): Finding[] {
  const findings: Finding[] = []
  const mdns = lookupOrder.find(word => /^mdns[46]?$/.test(word))
  const dns = lookupOrder.findIndex(word => word === 'dns' || word === 'resolve')
  if (mdns !== undefined && domain.endsWith('.local') && lookupOrder.indexOf(mdns) < dns) {
    findings.push({
      check: 'mDNS',
      state: 'warn',
      detail: `/etc/nsswitch.conf asks ${mdns} before DNS: names of .local take seconds`,
      hint: `Put mdns4_minimal in its place, or use a domain outside .local: MACULA_DOMAIN in .env`,
    })
  }
  const tunnel = resolved?.routed.find(routed => routed !== domain && routed !== '' && domain.endsWith(`.${routed}`))
  if (tunnel !== undefined) {
    findings.push({
      check: 'Split DNS',
      state: 'warn',
      detail: `a link routes ${tunnel} to servers of its own (a VPN, perhaps); ${domain} is longer and wins while both are up`,
      hint: 'Use another domain if names fail: MACULA_DOMAIN in .env',
    })
  }
  return findings
}

// Firewalls leave loopback alone, but their zones decide about bridges of containers.
async function firewallFindings(host: Host): Promise<Finding[]> {
  if (host.init !== 'systemd' || !(await hasTool('firewall-cmd'))) return []
  const { active } = await unitState('firewalld.service')
  return active
    ? [
        {
          check: 'Firewall',
          state: 'warn',
          detail: 'firewalld runs: its reload drops the rules of Docker older than 28.3.3',
          hint: 'After a reload of firewalld: sudo systemctl restart docker',
        },
      ]
    : []
}
