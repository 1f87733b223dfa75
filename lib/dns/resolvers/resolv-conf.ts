import { dnsListeners } from '../../platform/dns-server.ts'
import { PlatformError } from '../../system/errors.ts'
import type { ResolverAdapter } from './adapter.ts'
import type { ResolverFacts } from './facts.ts'
import type { ResolvConf } from './resolv-conf-file.ts'
import { renderResolvConf, upstreamPath } from './resolv-conf-file.ts'

const path = '/etc/resolv.conf'

/** A machine whose /etc/resolv.conf no program writes: our server goes first, the former ones answer everything else. */
export const plain: ResolverAdapter = {
  kind: 'resolv-conf',
  title: 'plain /etc/resolv.conf',
  detect: ({ resolvConf: { state, content } }) =>
    content?.keeper === undefined && (state.kind === 'file' || state.kind === 'absent' || isOwnLink(state, content)),
  check(facts) {
    const { resolvConf, resolved } = facts
    const { content } = resolvConf
    if (resolved && content?.nameservers.includes('127.0.0.53'))
      throw new PlatformError(
        `${path} names systemd-resolved, which would forward to our dnsmasq what our dnsmasq forwards to it`,
        {
          hint: 'RESOLVER=auto in .env',
        },
      )
    const keeper = keeperOf(facts)
    if (keeper === undefined) return
    throw new PlatformError(`${path} is written by ${keeper}, which would overwrite any change`, {
      hint: 'Choose another RESOLVER in .env, or use `task setup-hosts`',
    })
  },
  // a file without ports: another server on the first address leaves only another address
  listens: dnsListeners.port53,
  upstream(facts, listen) {
    const servers = formerServers(facts, listen.ip)
    return servers.length === 0
      ? { upstream: { kind: 'none' } }
      : { upstream: { kind: 'file', path: upstreamPath }, servers }
  },
  changes: [path],
  apply: ({ facts, listen, journal, owner }) =>
    journal.writeFile(path, renderResolvConf(plain.kind, owner, listen.ip, formerOf(facts, listen.ip))),
}

/** The servers that this machine used before us; never ourselves, or a query would loop. */
export function formerServers(facts: ResolverFacts, ours: string): string[] {
  const { content } = facts.resolvConf
  const present = content?.nameservers ?? []
  const isOurs = content?.writtenFor !== undefined
  const servers = isOurs && facts.keptUpstream.length > 0 ? facts.keptUpstream : present
  return servers.filter(server => server !== ours)
}

// What another adapter of ours wrote goes back to whom it took it from first.
function keeperOf({ resolvConf: { content }, networkManager, host }: ResolverFacts): string | undefined {
  if (content?.writtenFor === 'networkmanager' && networkManager?.dns === 'default') return 'NetworkManager'
  return content?.writtenFor === 'wsl' && host.wsl ? 'WSL' : content?.keeper
}

function formerOf(facts: ResolverFacts, ours: string): ResolvConf {
  const { content } = facts.resolvConf
  return {
    nameservers: formerServers(facts, ours),
    rest: content?.rest ?? [],
    writtenFor: undefined,
    keeper: undefined,
  }
}

// a link into /run or /var/run is some program's; one that a person made points to a file that stays
function isOwnLink(state: ResolverFacts['resolvConf']['state'], content: ResolvConf | undefined): boolean {
  return state.kind === 'link' && content !== undefined && !/(^|\/)(run|mnt\/wsl)\//.test(state.target)
}
