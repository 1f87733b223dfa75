import { dnsListeners } from '../../platform/dns-server.ts'
import { PlatformError } from '../../system/errors.ts'
import type { ResolverAdapter } from './adapter.ts'
import { formerServers } from './resolv-conf.ts'
import { renderResolvConf, upstreamPath } from './resolv-conf-file.ts'

const settings = '/etc/wsl.conf'
const resolvConf = '/etc/resolv.conf'

/** Linux inside Windows, which writes /etc/resolv.conf at every start: that is turned off, and the file names our server. */
export const wsl: ResolverAdapter = {
  kind: 'wsl',
  title: 'WSL (generateResolvConf)',
  detect: ({ host, resolvConf: { state, content } }) =>
    host.wsl &&
    (content?.keeper === 'WSL' ||
      content?.writtenFor === 'wsl' ||
      (state.kind === 'link' && state.target.includes('/wsl/'))),
  check({ host }) {
    if (host.wsl) return
    throw new PlatformError('This machine is not WSL', { hint: 'RESOLVER=auto in .env' })
  },
  listens: dnsListeners.port53,
  upstream: (facts, listen) => ({
    upstream: { kind: 'file', path: upstreamPath },
    servers: formerServers(facts, listen.ip),
  }),
  changes: [settings, resolvConf],
  async apply({ facts, listen, journal, owner }) {
    const turnedOff = await journal.writeFile(settings, withoutResolvConf(facts.wslConf ?? ''))
    const former = {
      nameservers: formerServers(facts, listen.ip),
      rest: facts.resolvConf.content?.rest ?? [],
      writtenFor: undefined,
      keeper: undefined,
    }
    const pointed = await journal.writeFile(resolvConf, renderResolvConf('wsl', owner, listen.ip, former))
    return turnedOff === 'unchanged' ? pointed : turnedOff
  },
}

/** Adds `generateResolvConf = false` to the text of a wsl.conf, in its [network] section; everything else stays as written. */
export function withoutResolvConf(text: string): string {
  const lines = text.split('\n')
  const set = lines.findIndex(line => /^\s*generateResolvConf\s*=/i.test(line))
  if (set >= 0) {
    if (/=\s*false\s*$/i.test(lines[set] ?? '')) return text
    lines[set] = 'generateResolvConf = false'
    return lines.join('\n')
  }
  const section = lines.findIndex(line => /^\s*\[network\]\s*$/i.test(line))
  if (section >= 0) {
    lines.splice(section + 1, 0, 'generateResolvConf = false')
    return lines.join('\n')
  }
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}[network]\ngenerateResolvConf = false\n`
}
