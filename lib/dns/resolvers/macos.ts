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
  listens: loopback => [53, 5300, 5301].map(port => ({ ip: loopback, port })),
  upstream: () => ({ upstream: { kind: 'none' } }),
  changes: [],
  apply: ({ domain, listen, journal }) =>
    journal.writeFile(`/etc/resolver/${domain}`, renderResolverFile(listen.ip, listen.port)),
}

/** The text of a file in /etc/resolver. */
export function renderResolverFile(ip: string, port: number): string {
  return ['# Written by the Macula platform.', `nameserver ${ip}`, `port ${port}`, ''].join('\n')
}
