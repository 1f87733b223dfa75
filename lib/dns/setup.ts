import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type Foreign, foreignFiles } from '../journal/foreign.ts'
import { type Journal, type Outcome, openJournal, type PlannedChange, type Undone } from '../journal/journal.ts'
import { versionName } from '../platform/dns-server.ts'
import { type Owner, ownerOf } from '../platform/owner.ts'
import type { Platform } from '../platform/platform.ts'
import type { Address } from '../system/address.ts'
import { root } from '../system/checkout.ts'
import { requireWritable } from '../system/files.ts'
import { type Host, packageManagerOf, programPath } from '../system/machine.ts'
import { boundSockets, listeners } from '../system/ports.ts'
import { asRoot, type Privilege } from '../system/privilege.ts'
import { configPath, dnsmasqConfig } from './config.ts'
import {
  answersWith,
  daemonUser,
  dnsmasqPackage,
  dnsmasqPath,
  installedDnsmasq,
  launchPath,
  runDaemon,
  unitName,
  unitPath,
  writeUnit,
} from './daemon.ts'
import { query } from './query.ts'
import { chooseListen, chooseResolver, resolvers } from './resolver.ts'
import type { ResolverAdapter } from './resolvers/adapter.ts'
import { type ResolverFacts, resolverFacts } from './resolvers/facts.ts'
import { parseResolvConf, renderUpstream, resolvConfPath, upstreamPath } from './resolvers/resolv-conf-file.ts'
import { checkThroughResolver, namesToCheck } from './verify.ts'

/** What is to be done on this machine so that it resolves the names of the platform. */
export interface DnsPlan {
  owner: Owner
  facts: ResolverFacts
  adapter: ResolverAdapter
  /** Where our dnsmasq listens. */
  listen: Address
  /** Its configuration, and the version that it answers with once it has read it. */
  config: { text: string; version: string }
  /** Text of the file of upstream servers; undefined where that file belongs to another program. */
  upstream: string | undefined
}

/** Opens the journal of a part of the platform. */
type Open = (scope: string) => Journal

/** Journal scopes of DNS: dnsmasq itself, and what points the resolver at it. */
export const dnsScope = 'dns'
export const resolverScope = ({ kind }: Pick<ResolverAdapter, 'kind'>) => `dns/resolver/${kind}`

/** Looks at the machine and decides. Changes nothing; throws where the machine is in a state that does not allow it. */
export async function planDns(platform: Platform, host: Host, owner: Owner): Promise<DnsPlan> {
  const facts = await resolverFacts(host, platform.domain)
  const adapter = chooseResolver(platform.settings.RESOLVER, facts)
  const isOurs = async (address: Address) => (await query(address, versionName, 'TXT', 500)).kind === 'records'
  const candidates = adapter.listens(platform.loopback)
  // who holds an address takes long to find out, and matters only where none is free
  const listen = await chooseListen(candidates, await boundSockets(), isOurs).catch(async () =>
    chooseListen(candidates, await listeners(), isOurs),
  )
  const { upstream, servers } = adapter.upstream(facts, listen)
  const config = await dnsmasqConfig(platform, { listen, upstream, user: await daemonUser(host), owner })
  return { owner, facts, adapter, listen, config, upstream: servers && renderUpstream(owner, servers) }
}

/** Files of ours on this machine, whichever resolver it has. */
export function dnsFiles(domain: string): string[] {
  const settings = resolvers.flatMap(({ changes }) => changes)
  return [configPath, upstreamPath, unitPath, launchPath, `/etc/resolver/${domain}`, ...settings]
}

/** DNS settings on this machine that another installation wrote, or that our journal has lost. */
export async function foreignDns(
  { domain, paths }: Pick<Platform, 'domain' | 'paths'>,
  owner: Owner,
): Promise<Foreign[]> {
  // a sandbox sees the files of its host, writes over a copy of them, and has no daemon of the host's
  return paths.sandbox === undefined ? foreignFiles([...new Set(dnsFiles(domain))], owner, root) : []
}

/** Removes what this checkout wrote and the journal does not have, so that it is made anew and can be undone. */
export async function removeLostDns(found: readonly Foreign[], { $ }: Journal): Promise<void> {
  const paths = found.map(({ what }) => what)
  if (paths.includes(resolvConfPath)) {
    const text = await formerResolvConf()
    await $`sh -c ${'printf %s "$1" >"$2"'} restore ${text} ${resolvConfPath}`
  }
  const files = paths.filter(path => path !== resolvConfPath)
  if (files.includes(unitPath)) await $`systemctl disable --now ${unitName}`
  if (files.length > 0) await $`rm -f ${files}`
  if (files.includes(configPath)) await $`sh -c ${'rmdir "$1" 2>/dev/null || true'} rmdir ${dirname(configPath)}`
}

/** What /etc/resolv.conf said before us, as far as our own file still shows: its servers, its search domains and options. */
async function formerResolvConf(): Promise<string> {
  const [own, kept] = await Promise.all([readResolvConf(resolvConfPath), readResolvConf(upstreamPath)])
  const servers = kept?.nameservers ?? own?.nameservers.slice(1) ?? []
  return [...(own?.rest ?? []), ...servers.map(server => `nameserver ${server}`), ''].join('\n')
}

const readResolvConf = (path: string) => readFile(path, 'utf8').then(parseResolvConf, () => undefined)

/** Throws, before anything is changed, where a file system is read-only or a file immutable. */
export async function requireChangeable({ adapter }: DnsPlan, privilege: Privilege): Promise<void> {
  for (const path of [configPath, ...adapter.changes]) await requireWritable(path, privilege)
}

/** Installs dnsmasq where the machine has none. */
export async function installDnsmasq(host: Host, journal: Journal): Promise<Outcome> {
  if (await programPath('dnsmasq')) return 'unchanged'
  return journal.installPackages(packageManagerOf(host, 'dnsmasq'), [dnsmasqPackage(host)])
}

/** Writes our dnsmasq's configuration, and the file of its upstream servers where that is ours. */
export async function writeConfig({ config, upstream }: DnsPlan, journal: Journal): Promise<Outcome> {
  const kept = upstream === undefined ? 'unchanged' : await journal.writeFile(upstreamPath, upstream)
  const configured = await journal.writeFile(configPath, config.text)
  return configured === 'unchanged' ? kept : configured
}

/** Points this machine's resolver at our dnsmasq, which runs by now. */
export async function pointResolver(platform: Platform, plan: DnsPlan, journal: Journal): Promise<Outcome> {
  const { adapter, facts, listen, owner } = plan
  const outcome = await adapter.apply({ facts, domain: platform.domain, listen, journal, owner })
  if (outcome !== 'unchanged' || adapter.refresh === undefined || (await isInForce(platform))) return outcome
  await adapter.refresh(journal)
  return 'updated'
}

// settings that are right and have never been read: a run was ended between one and the other
async function isInForce(platform: Platform): Promise<boolean> {
  const [check] = await checkThroughResolver(namesToCheck(platform).slice(0, 1))
  return check?.problem === undefined
}

/** Undoes what other adapters than the chosen one left from an earlier run. */
export async function undoOtherResolvers(chosen: ResolverAdapter, open: Open): Promise<Undone[]> {
  const undone: Undone[] = []
  for (const other of resolvers) {
    if (other.kind !== chosen.kind) undone.push(...(await open(resolverScope(other)).undo()))
  }
  return undone
}

/** What setup-dnsmasq would install and write on this machine, in order; empty where all is as it should be. Changes nothing. */
export async function plannedChanges(
  platform: Platform,
  host: Host,
): Promise<{ plan: DnsPlan; changes: PlannedChange[] }> {
  const journals: Journal[] = []
  const open: Open = scope => {
    const journal = openJournal({ stateDir: platform.paths.stateDir, privilege: asRoot, scope, dryRun: true })
    journals.push(journal)
    return journal
  }
  const plan = await planDns(platform, host, await ownerOf(platform.paths, true))
  await undoOtherResolvers(plan.adapter, open)
  const dns = open(dnsScope)
  await installDnsmasq(host, dns)
  await writeConfig(plan, dns)
  const program = (await installedDnsmasq()) ?? dnsmasqPath
  if (host.init === 'systemd') {
    const { isOutdated } = await writeUnit(program, platform.domain, plan.owner, dns)
    if (isOutdated) await dns.$`systemctl daemon-reload`
    await dns.enableUnits([{ unit: unitName }])
  } else await runDaemon(host, program, plan.owner, () => answersWith(plan.listen, plan.config.version), dns)
  await pointResolver(platform, plan, open(resolverScope(plan.adapter)))
  return { plan, changes: journals.flatMap(({ planned }) => planned) }
}
