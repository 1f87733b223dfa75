import { basename } from 'node:path'
import { requireVersion } from '../dns/daemon.ts'
import type { ResolverAdapter } from '../dns/resolvers/adapter.ts'
import type { ResolverFacts } from '../dns/resolvers/facts.ts'
import { plannedChanges } from '../dns/setup.ts'
import type { Platform } from '../platform/platform.ts'
import { $ } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { type Host, programPath } from '../system/machine.ts'
import { findProcesses } from '../system/processes.ts'
import { type Check, type Finding, findingOf } from './finding.ts'

/** How lookups would reach our dnsmasq on this machine, and what could prevent that. */
export function dnsCheck(platform: Platform, host: Host): Check {
  const check = 'DNS'
  return {
    name: check,
    async look(): Promise<Finding[]> {
      try {
        const { plan, changes } = await plannedChanges(platform, host)
        const { ip, port } = plan.listen
        const what = changes.map(({ what }) => what).filter(Boolean)
        return [
          { check, state: 'ok', detail: `${plan.adapter.title}; dnsmasq on ${ip}:${port}` },
          { check, state: 'ok', detail: `to be changed: ${what.join(', ') || 'nothing'}` },
          ...standingFindings(plan.adapter, plan.facts, await surroundings(host)),
          ...lookupFindings(plan.facts, await exists('/etc/mdns.allow')),
        ]
      } catch (error) {
        return [findingOf(check, error)]
      }
    },
  }
}

/**
 * What in this machine's lookup order could answer our names before us. By default multicast DNS passes names of three labels and more
 * on at once; with an /etc/mdns.allow (`mdnsAllow`) its full modules query the network for those, too.
 */
export function lookupFindings({ lookupOrder, resolved, domain }: ResolverFacts, mdnsAllow: boolean): Finding[] {
  const findings: Finding[] = []
  const mdns = lookupOrder.find(word => /^mdns[46]?$/.test(word))
  const dns = lookupOrder.findIndex(word => word === 'dns' || word === 'resolve')
  if (mdnsAllow && mdns !== undefined && domain.endsWith('.local') && lookupOrder.indexOf(mdns) < dns) {
    findings.push({
      check: 'mDNS',
      state: 'warn',
      detail: `/etc/nsswitch.conf has ${mdns} before DNS, for what /etc/mdns.allow lists: names of .local take seconds`,
      hint: `Put mdns4_minimal in its place, or use a domain outside .local: MACULA_DOMAIN in .env`,
    })
  }
  const tunnel = resolved?.routed.find(routed => domain.endsWith(`.${routed.domain}`))
  if (tunnel !== undefined) {
    findings.push({
      check: 'Split DNS',
      state: 'warn',
      detail: `${tunnel.link} routes ${tunnel.domain} to its own DNS servers (perhaps a VPN); ${domain} is more specific and wins while both are up`,
      hint: 'Use another domain if names fail: MACULA_DOMAIN in .env',
    })
  }
  return findings
}

/** What ResolverFacts do not hold, because no adapter decides on it. */
export interface Surroundings {
  /** What `dnsmasq --version` says; undefined where it is not installed. */
  dnsmasqVersion: string | undefined
  /** Whether dhclient keeps the address of this machine, and writes /etc/resolv.conf at every renewal. */
  dhclient: boolean
  /** What `lsattr /etc/resolv.conf` says; empty where it prints nothing. */
  attributes: string
}

/** What prevents changing the resolver, or would overwrite the change later. */
export function standingFindings(
  { kind, changes }: Pick<ResolverAdapter, 'kind' | 'changes'>,
  { host, domain }: Pick<ResolverFacts, 'host' | 'domain'>,
  { dnsmasqVersion, dhclient, attributes }: Surroundings,
): Finding[] {
  const findings: Finding[] = []
  if (dnsmasqVersion !== undefined) {
    try {
      requireVersion(dnsmasqVersion)
    } catch (error) {
      findings.push(findingOf('dnsmasq', error))
    }
  }
  if (attributes.split(' ')[0]?.includes('i') && changes.includes('/etc/resolv.conf'))
    findings.push({
      check: '/etc/resolv.conf',
      state: 'fail',
      detail: 'it is immutable, so setup-dnsmasq cannot change it',
      hint: 'sudo chattr -i /etc/resolv.conf   # once you know who set it',
    })
  if (dhclient && kind === 'resolv-conf')
    findings.push({
      check: '/etc/resolv.conf',
      state: 'warn',
      detail: 'dhclient writes it anew whenever it renews the address of this machine',
      hint: 'Install resolvconf first, or run setup-dnsmasq again when names are gone',
    })
  if (kind === 'wsl')
    findings.push({
      check: 'WSL',
      state: 'warn',
      detail: 'Windows itself does not reach 127.0.0.2 to 127.0.0.8 of WSL: the URLs work inside WSL only',
      hint: 'After setup-dnsmasq, run once in Windows: wsl --shutdown',
    })
  if (host.os === 'macos' && domain.endsWith('.local'))
    findings.push({
      check: 'mDNS',
      state: 'warn',
      detail: 'macOS queries Bonjour first for names that end in .local, for some seconds',
      hint: 'Use a domain outside .local: MACULA_DOMAIN in .env',
    })
  return findings
}

async function surroundings(host: Host): Promise<Surroundings> {
  const program = await programPath('dnsmasq')
  const isLinux = host.os !== 'macos'
  const attributes = () => $({ nothrow: true })`lsattr -d /etc/resolv.conf`.text().catch(() => '') // lsattr may not be installed
  return {
    dnsmasqVersion: program ? await $({ nothrow: true })`${program} --version`.text() : undefined,
    dhclient: isLinux && (await findProcesses(([name = '']) => basename(name) === 'dhclient')).length > 0,
    attributes: isLinux ? await attributes() : '',
  }
}
