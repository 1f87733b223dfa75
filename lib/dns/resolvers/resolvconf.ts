import { readFile } from 'node:fs/promises'
import { dnsListeners } from '../../platform/dns-server.ts'
import { PlatformError } from '../../system/errors.ts'
import { args } from '../../system/exec.ts'
import type { ResolverAdapter } from './adapter.ts'

const head = '/etc/resolvconf/resolv.conf.d/head'
const openresolv = '/etc/resolvconf.conf'
const update = args`resolvconf -u`
const marker = '# Macula platform'

/**
 * A machine whose /etc/resolv.conf is put together by resolvconf (Debian's, or openresolv): our server is put in front of what it collects.
 * dnsmasq reads the same file, and leaves out the line that names itself.
 */
export const resolvconf: ResolverAdapter = {
  kind: 'resolvconf',
  title: 'resolvconf',
  detect: ({ resolvconf, resolvConf: { state, content } }) =>
    resolvconf !== undefined &&
    (content?.keeper === 'resolvconf' || (state.kind === 'link' && state.target.includes('resolvconf'))),
  check({ resolvconf }) {
    if (resolvconf) return
    throw new PlatformError('resolvconf is not installed on this machine', { hint: 'RESOLVER=auto in .env' })
  },
  listens: dnsListeners.port53,
  upstream: () => ({ upstream: { kind: 'file', path: '/etc/resolv.conf' } }),
  changes: [head, openresolv],
  refresh: journal => journal.$`${update}`,
  async apply({ facts, listen, journal }) {
    const [path, line] =
      facts.resolvconf === 'debian' ? [head, `nameserver ${listen.ip}`] : [openresolv, openresolvLine(listen.ip)]
    const before = await readFile(path, 'utf8').catch(() => '')
    await journal.afterUndo(update)
    const outcome = await journal.writeFile(path, withLine(before, line))
    if (outcome !== 'unchanged') await journal.$`${update}`
    return outcome
  },
}

// The file is read by a shell. Left to itself, openresolv lists no other server beside a local one, and dnsmasq would have no upstream server.
function openresolvLine(ip: string): string {
  return `name_servers="${ip} $name_servers" resolv_conf_local_only=NO`
}

/** Adds our marked line at the end of a settings file, or replaces the one that we added before. */
export function withLine(text: string, line: string): string {
  const others = text.split('\n')
  const own = others.indexOf(marker)
  if (own >= 0) others.splice(own, 2)
  const rest = others.join('\n')
  return `${rest}${rest === '' || rest.endsWith('\n') ? '' : '\n'}${marker}\n${line}\n`
}
