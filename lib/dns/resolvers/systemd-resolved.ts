import type { Journal } from '../../journal/journal.ts'
import { dnsListeners } from '../../platform/dns-server.ts'
import { type Owner, signature } from '../../platform/owner.ts'
import { PlatformError } from '../../system/errors.ts'
import { args } from '../../system/exec.ts'
import type { ResolverAdapter } from './adapter.ts'
import type { ResolverFacts } from './facts.ts'
import { upstreamPath } from './resolv-conf-file.ts'

const dropIn = '/etc/systemd/resolved.conf.d/macula.conf'
const unit = 'systemd-resolved.service'
// for undo: one that somebody has stopped or removed meanwhile stays so
const restartAgain =
  'systemctl is-active --quiet "$1" || systemctl is-failed --quiet "$1" || exit 0; systemctl reset-failed "$1"; systemctl restart "$1"'

/**
 * A machine whose programs use systemd-resolved: a drop-in routes our domain, and nothing else, to dnsmasq. It also sends `.local` there,
 * which resolved otherwise keeps for multicast DNS.
 */
export const systemdResolved: ResolverAdapter = {
  kind: 'systemd-resolved',
  title: 'systemd-resolved',
  detect: facts => facts.resolved !== undefined && (asksStub(facts) || facts.lookupOrder.includes('resolve')),
  check(facts) {
    if (facts.resolved === undefined)
      throw new PlatformError('systemd-resolved does not run on this machine', {
        hint: 'systemctl enable --now systemd-resolved, or RESOLVER=auto in .env',
      })
    if (facts.resolved.strictTls)
      throw new PlatformError('systemd-resolved uses DNS over TLS for every server, which dnsmasq does not speak', {
        why: 'DNSOverTLS=yes',
        hint: 'Set DNSOverTLS=opportunistic in /etc/systemd/resolved.conf, then systemctl restart systemd-resolved',
      })
    const { domain } = facts
    const isWithin = (name: string, whole: string) => name === whole || name.endsWith(`.${whole}`)
    if (facts.resolved.dnssec && !facts.resolved.unsigned.some(whole => isWithin(domain, whole)))
      throw new PlatformError(
        `systemd-resolved accepts signed answers only, and ${domain} cannot be signed on this machine`,
        {
          why: 'DNSSEC=yes or allow-downgrade; it makes an exception for domains that the public DNS cannot have',
          hint: `Use a domain that ends in .local, .test or .internal: MACULA_DOMAIN in .env\nOr set DNSSEC=no in /etc/systemd/resolved.conf, then systemctl restart systemd-resolved`,
        },
      )
    const rival = facts.resolved.routed.find(routed => isWithin(routed.domain, domain))
    if (rival)
      throw new PlatformError(`${rival.link} routes ${rival.domain} to its own DNS servers`, {
        why: 'Perhaps a VPN. systemd-resolved would query its servers and ours, and take the first answer',
        hint: `Use another domain: MACULA_DOMAIN in .env\nOr end that connection; resolvectl domain ${rival.link} '' removes its domains until it reconnects`,
      })
  },
  // its stub has 127.0.0.53 and .54; where another server has port 53, DNS= takes a port
  listens: dnsListeners.anyPort,
  upstream(facts, listen) {
    const servers = globalServers(facts, addressOf(listen))
    return servers.length === 0
      ? { upstream: { kind: 'none' } }
      : { upstream: { kind: 'file', path: upstreamPath }, servers }
  },
  changes: [dropIn],
  refresh: restart,
  async apply({ facts, domain, listen, journal, owner }) {
    await journal.afterUndo(args`sh -c ${restartAgain} restart ${unit}`)
    const outcome = await journal.writeFile(dropIn, renderDropIn(owner, domain, addressOf(listen)))
    const isRead = facts.resolved?.domains.includes(`~${domain}`) && facts.resolved.global.includes(addressOf(listen))
    if (outcome === 'unchanged' && isRead) return outcome
    // also what an earlier run wrote and ended before the restart: a name may be answered all the same, in the old way
    await restart(journal)
    return outcome === 'unchanged' ? 'updated' : outcome
  },
}

// five restarts within ten seconds are too many for systemd, which then leaves the machine without a resolver; reset-failed sets its count to none
async function restart(journal: Journal): Promise<void> {
  await journal.$`systemctl reset-failed ${unit}`
  await journal.$`systemctl restart ${unit}`
}

/** The drop-in: our server in place of other global ones, which dnsmasq queries on its behalf. */
export function renderDropIn(owner: Owner, domain: string, server: string): string {
  return [
    `# Written by the Macula platform (${signature(owner)}).`,
    '# Names of this domain are answered by its dnsmasq.',
    '[Resolve]',
    '# resolved queries only one of several global servers, perhaps not the one that has the domain',
    'DNS=',
    `DNS=${server}`,
    `Domains=~${domain}`,
    '',
  ].join('\n')
}

// Links keep their servers. Global ones (or, where there are no others at all, the built-in ones) would no longer be used.
function globalServers({ resolved, keptUpstream }: ResolverFacts, ours: string): string[] {
  if (resolved === undefined) return []
  if (resolved.global.includes(ours)) return keptUpstream
  if (resolved.global.length > 0) return resolved.global.map(withoutName)
  return resolved.links.length === 0 ? resolved.fallback.map(withoutName) : []
}

// 9.9.9.9#dns.quad9.net: the name is for TLS, and dnsmasq would take it for a port
function withoutName(server: string): string {
  return server.split('#')[0] ?? server
}

function addressOf({ ip, port }: { ip: string; port: number }): string {
  return port === 53 ? ip : `${ip}:${port}`
}

function asksStub({ resolvConf: { state, content } }: ResolverFacts): boolean {
  const isItsLink = state.kind === 'link' && /systemd\/resolve\/stub-resolv\.conf$/.test(state.target)
  return isItsLink || (content?.nameservers.some(server => server === '127.0.0.53') ?? false)
}
