import { createHash } from 'node:crypto'
import { versionName } from '../platform/dns-server.ts'
import { type Owner, signature } from '../platform/owner.ts'
import type { Platform } from '../platform/platform.ts'
import { fillTemplate, readTemplate } from '../platform/render.ts'
import type { Address } from '../system/address.ts'
import type { Upstream } from './resolvers/resolv-conf-file.ts'

/** Our dnsmasq's own configuration; a distribution's stays as it is. */
export const configPath = '/etc/macula/dnsmasq.conf'

export interface DnsmasqSettings {
  listen: Address
  upstream: Upstream
  /** User that a dnsmasq started as root becomes; undefined where it is not started as root. */
  user: string | undefined
  owner: Owner
}

/** The text of our dnsmasq.conf, and the version that the server which read it answers with. */
export async function dnsmasqConfig(
  { domain, names, wildcard }: Pick<Platform, 'domain' | 'names' | 'wildcard'>,
  { listen, upstream, user, owner }: DnsmasqSettings,
): Promise<{ text: string; version: string }> {
  const template = await readTemplate('dnsmasq/dnsmasq.conf')
  const fill = (version: string, writtenBy: string) =>
    fillTemplate(
      template,
      {
        owner: writtenBy,
        domain,
        port: String(listen.port),
        ip: listen.ip,
        user: user === undefined ? '' : `user=${user}`,
        upstream: upstream.kind === 'none' ? 'no-resolv' : `resolv-file=${upstream.path}\nstrict-order`,
        wildcard,
        names: names.map(({ name, ip }) => `address=/${name}/${ip}`).join('\n'),
        versionName,
        version,
      },
      'templates/dnsmasq/dnsmasq.conf',
    )
  const version = createHash('sha256').update(fill('', '')).digest('hex').slice(0, 16)
  return { text: fill(version, signature(owner)), version }
}
