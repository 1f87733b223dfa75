import type { Address } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { describeHolder, hintToFree, holdersOf, type Listener } from '../system/ports.ts'
import type { ResolverAdapter } from './resolvers/adapter.ts'
import type { ResolverFacts } from './resolvers/facts.ts'
import { macos } from './resolvers/macos.ts'
import { networkManager } from './resolvers/networkmanager.ts'
import { networkManagerDnsmasq } from './resolvers/networkmanager-dnsmasq.ts'
import { plain } from './resolvers/resolv-conf.ts'
import { resolvconf } from './resolvers/resolvconf.ts'
import { systemdResolved } from './resolvers/systemd-resolved.ts'
import { wsl } from './resolvers/wsl.ts'

/** In the order of detection: those that another may use underneath come later. */
export const resolvers: readonly ResolverAdapter[] = [
  macos,
  systemdResolved,
  networkManagerDnsmasq,
  networkManager,
  resolvconf,
  wsl,
  plain,
]

/** The adapter for this machine: the one named in RESOLVER, or found. Throws where none fits. */
export function chooseResolver(setting: string, facts: ResolverFacts): ResolverAdapter {
  const adapter = resolvers.find(({ kind, detect }) => (setting === 'auto' ? detect(facts) : kind === setting))
  if (adapter === undefined) {
    throw new PlatformError('How this machine resolves names is not recognised', {
      why: `/etc/resolv.conf is ${describe(facts)}`,
      hint: 'Name the resolver yourself: RESOLVER in .env, or use `task setup-hosts`',
    })
  }
  adapter.check(facts)
  return adapter
}

/**
 * The first address on which dnsmasq can listen: a free one, or the one it has already (`isOurs`).
 * Throws with the holders of all where none is free.
 */
export async function chooseListen(
  candidates: readonly Address[],
  table: readonly Listener[],
  isOurs: (address: Address) => Promise<boolean>,
): Promise<Address> {
  const problems: string[] = []
  let hint = ''
  for (const address of candidates) {
    const holders = (['udp', 'tcp'] as const).flatMap(protocol => holdersOf(address, table, protocol))
    const [holder] = holders
    if (holder === undefined || (await isOurs(address))) return address
    problems.push(`${address.ip}:${address.port} is held by ${describeHolder(holder)}`)
    hint ||= hintToFree(holder)
  }
  throw new PlatformError(`dnsmasq cannot listen: ${problems[0]}`, { why: problems.slice(1).join('\n'), hint })
}

function describe({ resolvConf }: ResolverFacts): string {
  const { state, content } = resolvConf
  if (state.kind === 'link')
    return content ? `a link to ${state.target}` : `a link to ${state.target}, which is not there`
  return content?.keeper ? `written by ${content.keeper}` : `a ${state.kind}`
}
