import { basename } from 'node:path'
import { PlatformError } from '../errors.ts'
import { ask } from '../exec.ts'
import { detectHost, programPath } from '../host.ts'
import type { Platform } from '../platform.ts'
import { describeHolder, holdersOf, type Listener, listeners } from '../ports.ts'
import { findProcesses } from '../processes.ts'
import { dnsmasqPackage, requireVersion } from './daemon.ts'
import { type ResolverFacts, resolverFacts } from './facts.ts'
import { chooseResolver } from './resolver.ts'

/** One thing that doctor says about names on this machine. */
export interface DnsFinding {
  /** `note`: setup-dnsmasq changes or works around it. `warning`: works, with a catch. `problem`: setup-dnsmasq would refuse. */
  level: 'good' | 'note' | 'warning' | 'problem'
  what: string
  hint?: string
}

/** What findings are made of, besides the facts that adapters decide on. */
export interface DnsSurroundings {
  facts: ResolverFacts
  listeners: readonly Listener[]
  /** What `dnsmasq --version` says; undefined where it is not installed. */
  dnsmasqVersion: string | undefined
  /** Whether dhclient keeps the address of this machine, and writes /etc/resolv.conf at every renewal. */
  dhclient: boolean
  /** What `lsattr /etc/resolv.conf` says; empty where it cannot tell. */
  attributes: string
}

/** Looks for what setup-dnsmasq would change, and what is in its way. Changes nothing, needs no root. */
export async function dnsFindings(platform: Platform): Promise<DnsFinding[]> {
  const host = await detectHost(platform.settings.MACULA_OS)
  const program = await programPath('dnsmasq')
  const quietly = async (command: string[]) =>
    ask(command).then(
      ({ stdout }) => stdout,
      () => '',
    )
  return judge(platform, {
    facts: await resolverFacts(host),
    listeners: await listeners(),
    dnsmasqVersion: program ? await quietly([program, '--version']) : undefined,
    dhclient: host.os !== 'macos' && (await findProcesses(([name = '']) => basename(name) === 'dhclient')).length > 0,
    attributes: host.os === 'macos' ? '' : await quietly(['lsattr', '-d', '/etc/resolv.conf']),
  })
}

/** The pure half of dnsFindings. */
export function judge(
  { domain, loopback, settings }: Pick<Platform, 'domain' | 'loopback' | 'settings'>,
  surroundings: DnsSurroundings,
): DnsFinding[] {
  const { facts } = surroundings
  const findings = [...resolverFindings(settings.RESOLVER, surroundings), programFinding(surroundings)]
  const holders = holdersOf({ ip: loopback, port: 53 }, surroundings.listeners, 'udp')
  const [holder] = holders
  if (holder)
    findings.push({
      level: holder.process?.command.some(word => word.includes('/etc/macula/')) ? 'good' : 'note',
      what: `Port 53 of ${loopback} is held by ${describeHolder(holder)}`,
      hint: 'setup-dnsmasq takes another port or address where the resolver of this machine allows it',
    })
  else findings.push({ level: 'good', what: `Port 53 of ${loopback} is free` })
  if (domain.endsWith('.local')) findings.push(...multicastFindings(domain, facts))
  for (const routed of facts.resolved?.routed ?? []) {
    if (routed === domain || routed.endsWith(`.${domain}`))
      findings.push({
        level: 'problem',
        what: `Another network (a VPN?) has its own servers for ${routed}`,
        hint: 'Set MACULA_DOMAIN in .env to a domain that nobody else uses',
      })
  }
  if (facts.host.wsl)
    findings.push({
      level: 'warning',
      what: 'Windows itself does not reach 127.0.0.2 to 127.0.0.8 of WSL; the platform works inside WSL only',
      hint: 'After setup-dnsmasq, run once in Windows: wsl --shutdown',
    })
  return findings
}

function resolverFindings(setting: string, { facts, dhclient, attributes }: DnsSurroundings): DnsFinding[] {
  const findings: DnsFinding[] = []
  try {
    const adapter = chooseResolver(setting, facts)
    findings.push({
      level: 'note',
      what: `Names are resolved through ${adapter.title}`,
      ...(adapter.changes.length > 0 ? { hint: `setup-dnsmasq changes ${adapter.changes.join(' and ')}` } : {}),
    })
    const isImmutable = attributes.split(' ')[0]?.includes('i') ?? false
    if (isImmutable && adapter.changes.includes('/etc/resolv.conf'))
      findings.push({
        level: 'problem',
        what: '/etc/resolv.conf is immutable',
        hint: 'chattr -i /etc/resolv.conf, once you know who set it',
      })
    if (dhclient && adapter.kind === 'resolv-conf')
      findings.push({
        level: 'warning',
        what: 'dhclient writes /etc/resolv.conf whenever it renews the address of this machine',
        hint: 'Install resolvconf, or run setup-dnsmasq again when names are gone',
      })
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error
    const what = [error.message, error.why].filter(Boolean).join(': ')
    findings.push({ level: 'problem', what, ...(error.hint ? { hint: error.hint } : {}) })
  }
  return findings
}

function programFinding({ facts, dnsmasqVersion }: DnsSurroundings): DnsFinding {
  if (dnsmasqVersion === undefined)
    return { level: 'note', what: `dnsmasq is not installed; setup-dnsmasq installs ${dnsmasqPackage(facts.host)}` }
  try {
    requireVersion(dnsmasqVersion)
    return { level: 'good', what: `dnsmasq is installed: ${dnsmasqVersion.split('\n')[0]?.split('  ')[0]}` }
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error
    return { level: 'problem', what: `${error.message}: ${error.why}`, ...(error.hint ? { hint: error.hint } : {}) }
  }
}

// RFC 6762 gives .local to multicast DNS
function multicastFindings(domain: string, { host, lookupOrder }: ResolverFacts): DnsFinding[] {
  const other = 'Set MACULA_DOMAIN in .env to a domain of its own, like macula.test'
  if (host.os === 'macos')
    return [
      {
        level: 'warning',
        what: `macOS asks Bonjour first for names that end in .local, for some seconds`,
        hint: other,
      },
    ]
  const dns = lookupOrder.findIndex(word => word === 'dns' || word === 'resolve')
  const before = lookupOrder.slice(0, dns < 0 ? undefined : dns)
  const greedy = before.find(word => /^mdns[46]?$/.test(word))
  if (greedy)
    return [
      {
        level: 'problem',
        what: `/etc/nsswitch.conf gives every name that ends in .local to multicast DNS (${greedy}) before DNS`,
        hint: `Write ${greedy}_minimal instead of ${greedy} in the line hosts:. Or: ${other}`,
      },
    ]
  // it passes names of three labels or more on
  if (before.some(word => /^mdns[46]?_minimal$/.test(word)))
    return [
      { level: 'good', what: `Multicast DNS leaves names below ${domain} alone; ${domain} itself has no name of ours` },
    ]
  return []
}
