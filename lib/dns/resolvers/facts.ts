import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { $ } from '../../system/exec.ts'
import { type PathState, stateOf } from '../../system/files.ts'
import { type Host, hasProgram, programPath } from '../../system/machine.ts'
import { unitState } from '../../system/systemd.ts'
import { parseResolvConf, type ResolvConf, upstreamPath } from './resolv-conf-file.ts'

/** All that adapters decide on, read once; data only, so that a test can stand for any kind of machine. */
export interface ResolverFacts {
  host: Host
  /** The domain that is to be ours. */
  domain: string
  resolvConf: {
    /** What stands at /etc/resolv.conf itself. */
    state: PathState
    /** What a reader of it gets; undefined where it is missing or a dangling link. */
    content: ResolvConf | undefined
  }
  /** Servers kept from before us; only while /etc/resolv.conf is ours. */
  keptUpstream: string[]
  /** The `hosts:` line of /etc/nsswitch.conf, split. */
  lookupOrder: string[]
  resolved: ResolvedFacts | undefined
  networkManager: NetworkManagerFacts | undefined
  resolvconf: 'debian' | 'openresolv' | undefined
  /** Text of /etc/wsl.conf; undefined where there is none. */
  wslConf: string | undefined
}

/** systemd-resolved, where it runs. */
export interface ResolvedFacts {
  /** Servers configured for all links. */
  global: string[]
  /** Servers of its links. */
  links: string[]
  /** Servers it uses where it has no others. */
  fallback: string[]
  /** Whether it insists on TLS. */
  strictTls: boolean
  /** Domains that it sends to the global servers, as it has read them: `~macula.local`. */
  domains: string[]
  /** Domains without `~` that links have answered by servers of their own. */
  routed: { domain: string; link: string }[]
  /** Whether it checks signatures. */
  dnssec: boolean
  /** Domains whose signatures it does not check even then. */
  unsigned: string[]
}

/** NetworkManager, where it runs. */
export interface NetworkManagerFacts {
  /** default, dnsmasq, systemd-resolved, unbound or none. */
  dns: string
  /** How it writes /etc/resolv.conf (unmanaged: not at all) by the settings it has read; undefined where it does not say. */
  resolvConf: string | undefined
}

/** Looks at how this machine resolves names. Changes nothing. */
export async function resolverFacts(host: Host, domain: string): Promise<ResolverFacts> {
  const state = await stateOf('/etc/resolv.conf')
  const content = await readFile('/etc/resolv.conf', 'utf8').then(parseResolvConf, () => undefined)
  const nsswitch = await readFile('/etc/nsswitch.conf', 'utf8').catch(() => '')
  const kept = await readFile(upstreamPath, 'utf8').then(parseResolvConf, () => undefined)
  return {
    host,
    domain,
    resolvConf: { state, content },
    keptUpstream: kept?.nameservers ?? [],
    lookupOrder: /^hosts:(.*)$/m.exec(nsswitch)?.[1]?.trim().split(/\s+/) ?? [],
    resolved: host.init === 'systemd' ? await resolvedFacts() : undefined,
    networkManager: await networkManagerFacts(),
    resolvconf: await resolvconfKind(),
    wslConf: host.wsl ? await readFile('/etc/wsl.conf', 'utf8').catch(() => '') : undefined,
  }
}

async function resolvedFacts(): Promise<ResolvedFacts | undefined> {
  if (!(await unitState('systemd-resolved.service')).active) return undefined
  const plainText = { SYSTEMD_COLORS: '0', COLUMNS: '1000' }
  const status = await $({ env: plainText, nothrow: true })`resolvectl --no-pager status`.text()
  return { ...parseResolvectl(status), unsigned: await unsignedDomains() }
}

/** Domains that resolved accepts unsigned by default: those that the public DNS cannot have. */
const builtInUnsigned = 'home.arpa local corp home internal intranet lan private test'.split(' ')

async function unsignedDomains(): Promise<string[]> {
  const folders = ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map(base => `${base}/dnssec-trust-anchors.d`)
  const texts: string[] = []
  for (const folder of folders) {
    const names = await readdir(folder).catch(() => [])
    for (const name of names.filter(name => name.endsWith('.negative')))
      texts.push(await readFile(join(folder, name), 'utf8').catch(() => ''))
  }
  if (texts.length === 0) return builtInUnsigned
  const lines = texts.join('\n').split('\n')
  return lines.map(line => line.replace(/;.*/, '').trim().replace(/\.$/, '')).filter(Boolean)
}

/** Reads `resolvectl status`: a paragraph for all links together, one for each link. */
export function parseResolvectl(text: string): Omit<ResolvedFacts, 'unsigned'> {
  const sections = text.split(/\n(?=Link \d+ )/)
  const listOf = (section: string, label: string) => {
    // values go on in the following lines, which have no label
    const found =
      new RegExp(`^ *${label}:((?:.*)(?:\\n(?! *[A-Z][\\w ()/-]*: )(?! *$).*)*)`, 'm').exec(section)?.[1] ?? ''
    return found.split(/\s+/).filter(Boolean)
  }
  const [global = '', ...links] = sections
  return {
    global: listOf(global, 'DNS Servers'),
    fallback: listOf(global, 'Fallback DNS Servers'),
    links: links.flatMap(link => listOf(link, 'DNS Servers')),
    strictTls: /Protocols:.*\+DNSOverTLS/.test(global),
    dnssec: /Protocols:.*\bDNSSEC=(?:yes|allow-downgrade)\b/.test(global),
    domains: listOf(global, 'DNS Domain'),
    routed: links.flatMap(section => {
      const link = /^Link \d+ \((.*)\)/.exec(section)?.[1] ?? ''
      return listOf(section, 'DNS Domain').map(domain => ({ domain: domain.replace(/^~/, ''), link }))
    }),
  }
}

async function networkManagerFacts(): Promise<NetworkManagerFacts | undefined> {
  if (!(await hasProgram('nmcli'))) return undefined
  const running = await $({ nothrow: true })`nmcli -t -f RUNNING general`.text()
  if (running.trim() !== 'running') return undefined
  const hasBus = await hasProgram('busctl')
  const bus = 'org.freedesktop.NetworkManager'
  const property = async (name: string) => {
    if (!hasBus) return undefined
    const object = '/org/freedesktop/NetworkManager/DnsManager'
    const answer = await $({ nothrow: true })`busctl get-property ${bus} ${object} ${bus}.DnsManager ${name}`.text()
    return /^s "(.+)"/.exec(answer)?.[1]
  }
  const [dns, resolvConf] = [await property('Mode'), await property('RcManager')]
  if (dns) return { dns, resolvConf }
  const program = (await programPath('NetworkManager')) ?? 'NetworkManager'
  const configuration = await $({ nothrow: true })`${program} --print-config`.text()
  return { dns: /^dns=(\S+)/m.exec(configuration)?.[1] ?? 'default', resolvConf }
}

async function resolvconfKind(): Promise<ResolverFacts['resolvconf']> {
  const program = await programPath('resolvconf')
  if (!program) return undefined
  if ((await stateOf('/etc/resolvconf/resolv.conf.d')).kind === 'directory') return 'debian'
  // systemd's resolvectl may stand there under the same name
  const isOpenresolv = (await stateOf('/etc/resolvconf.conf')).kind === 'file'
  return isOpenresolv ? 'openresolv' : undefined
}
