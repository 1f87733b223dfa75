import type { NetworkManagerFacts, ResolvedFacts, ResolverFacts } from '../../lib/dns/resolvers/facts.ts'
import { parseResolvConf } from '../../lib/dns/resolvers/resolv-conf-file.ts'
import type { PathState } from '../../lib/system/files.ts'
import type { Host } from '../../lib/system/machine.ts'

/** Pieces of what a machine says of its resolver, as `lib/dns/facts.ts` reads it. */
export const debian: Host = { os: 'debian', name: 'Debian', init: 'systemd', wsl: false, summary: '', choices: [] }
export const file: PathState = { kind: 'file', content: '', mode: 0o644, uid: 0, gid: 0 }
export const link = (target: string): PathState => ({ kind: 'link', target })
/** systemd-resolved with one link that names a server, as a DHCP lease does. */
export const resolved: ResolvedFacts = {
  global: [],
  links: ['192.0.2.1'],
  fallback: [],
  strictTls: false,
  dnssec: false,
  unsigned: ['local', 'test'],
  domains: [],
  routed: [],
}
export const networkManager = (dns: string, resolvConf?: string): NetworkManagerFacts => ({ dns, resolvConf })

/** A Debian machine with this `/etc/resolv.conf` and nothing else, but for `others`. */
export function machine(
  text: string | undefined,
  state: PathState,
  others: Partial<ResolverFacts> = {},
): ResolverFacts {
  return {
    host: debian,
    domain: 'macula.local',
    resolvConf: { state, content: text === undefined ? undefined : parseResolvConf(text) },
    keptUpstream: [],
    lookupOrder: ['files', 'dns'],
    resolved: undefined,
    networkManager: undefined,
    resolvconf: undefined,
    wslConf: undefined,
    ...others,
  }
}
