import { dnsListeners } from '../../platform/dns-server.ts'
import { type Owner, signature } from '../../platform/owner.ts'
import type { Address } from '../../system/address.ts'
import { PlatformError } from '../../system/errors.ts'
import type { ResolverAdapter } from './adapter.ts'

/** macOS takes the server of a domain from a file of that name: see `man 5 resolver`. */
export const macos: ResolverAdapter = {
  kind: 'macos',
  title: 'macOS /etc/resolver',
  detect: ({ host }) => host.os === 'macos',
  check({ host }) {
    if (host.os === 'macos') return
    throw new PlatformError('RESOLVER=macos works on macOS only', { hint: 'RESOLVER=auto in .env' })
  },
  listens: dnsListeners.anyPort,
  upstream: () => ({ upstream: { kind: 'none' } }),
  changes: [],
  apply: ({ domain, listen, journal, owner }) =>
    journal.writeFile(`/etc/resolver/${domain}`, renderResolverFile(owner, listen)),
}

/** The text of a file in /etc/resolver. */
export function renderResolverFile(owner: Owner, { ip, port }: Address): string {
  return [`# Written by the Macula platform (${signature(owner)}).`, `nameserver ${ip}`, `port ${port}`, ''].join('\n')
}
