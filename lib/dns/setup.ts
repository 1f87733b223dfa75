import { type Journal, type Outcome, openJournal, type PlannedChange, type Undone } from '../journal/journal.ts'
import type { Platform } from '../platform/platform.ts'
import type { Address } from '../system/address.ts'
import { requireWritable } from '../system/files.ts'
import type { Host } from '../system/machine.ts'
import { boundSockets, listeners } from '../system/ports.ts'
import { asRoot, type Privilege } from '../system/privilege.ts'
import { type DnsmasqSettings, versionName } from './config.ts'
import { daemonUser, ensureConfig, ensureDnsmasq, ensureRunning } from './daemon.ts'
import { query } from './query.ts'
import { chooseListen, chooseResolver, resolvers } from './resolver.ts'
import type { ResolverAdapter } from './resolvers/adapter.ts'
import { type ResolverFacts, resolverFacts } from './resolvers/facts.ts'
import { renderUpstream, upstreamPath } from './resolvers/resolv-conf-file.ts'
import { checkThroughResolver, namesToCheck } from './verify.ts'

/** What is to be done on this machine so that it knows the names of the platform. */
export interface DnsPlan {
  host: Host
  facts: ResolverFacts
  adapter: ResolverAdapter
  dnsmasq: DnsmasqSettings
  /** Content of the file of upstream servers, where it is ours to write. */
  servers: readonly string[] | undefined
}

/** Journal scopes of DNS: dnsmasq itself, and what points the resolver at it. */
const dnsScope = 'dns'
const resolverScope = (kind: string) => `dns/resolver/${kind}`

/** The journals of a plan's two scopes. */
export interface DnsJournals {
  dns: Journal
  resolver: Journal
}

/** Opens them; dry ones only note what would be done. */
export function openDnsJournals(
  { paths }: Pick<Platform, 'paths'>,
  { adapter }: Pick<DnsPlan, 'adapter'>,
  privilege: Privilege,
  dryRun = false,
): DnsJournals {
  const open = (scope: string) => openJournal({ stateDir: paths.stateDir, privilege, scope, dryRun })
  return { dns: open(dnsScope), resolver: open(resolverScope(adapter.kind)) }
}

/** One visible part of the set-up. */
export interface DnsStep {
  title: string
  run(): Promise<Outcome>
}

/** Looks at the machine and decides. Changes nothing; throws where the machine is in a state that does not allow it. */
export async function planDns(platform: Platform, host: Host): Promise<DnsPlan> {
  const facts = await resolverFacts(host, platform.domain)
  const adapter = chooseResolver(platform.settings.RESOLVER, facts)
  const isOurs = async (address: Address) => (await query(address, versionName, 'TXT', 500)).kind === 'records'
  const candidates = adapter.listens(platform.loopback)
  // who is in the way is worth asking only where somebody is
  const listen = await chooseListen(candidates, await boundSockets(), isOurs).catch(async () =>
    chooseListen(candidates, await listeners(), isOurs),
  )
  const { upstream, servers } = adapter.upstream(facts, listen)
  return { host, facts, adapter, servers, dnsmasq: { listen, upstream, user: await daemonUser(host) } }
}

/** Throws, before anything is changed, where a file system is read-only or a file immutable. */
export async function requireChangeable({ adapter }: DnsPlan, privilege: Privilege): Promise<void> {
  for (const path of ['/etc/macula/dnsmasq.conf', ...adapter.changes]) await requireWritable(path, privilege)
}

/** The steps of the plan, in order; with dry journals they only say what they would do. */
export function dnsSteps(
  platform: Platform,
  { host, facts, adapter, dnsmasq, servers }: DnsPlan,
  journals: DnsJournals,
): DnsStep[] {
  const { listen } = dnsmasq
  return [
    { title: 'Install dnsmasq', run: () => ensureDnsmasq(host, journals.dns) },
    {
      title: `Configure dnsmasq for ${platform.names.length} names and *.${platform.domain}`,
      async run() {
        const kept = servers ? await journals.dns.writeFile(upstreamPath, renderUpstream(servers)) : 'unchanged'
        const configured = await ensureConfig(platform, dnsmasq, journals.dns)
        return configured === 'unchanged' ? kept : configured
      },
    },
    {
      title: `Run dnsmasq on ${listen.ip}:${listen.port}`,
      run: () => ensureRunning(host, platform, dnsmasq, journals.dns),
    },
    {
      title: `Point the resolver of this machine at it: ${adapter.title}`,
      async run() {
        const journal = journals.resolver
        const outcome = await adapter.apply({ facts, domain: platform.domain, listen, journal })
        if (outcome !== 'unchanged' || (await isInForce(platform))) return outcome
        await adapter.refresh?.(journal)
        return adapter.refresh === undefined ? outcome : 'updated'
      },
    },
  ]
}

/** What the plan would change on this machine, in order; empty where all is as it should be. Changes nothing. */
export async function plannedChanges(platform: Platform, plan: DnsPlan): Promise<PlannedChange[]> {
  const preview = openDnsJournals(platform, plan, asRoot, true)
  await undoOtherResolvers(plan.adapter, preview.resolver)
  for (const step of dnsSteps(platform, plan, preview)) await step.run()
  return [...preview.dns.planned, ...preview.resolver.planned]
}

// settings that are right and have never been read: a run was broken off between one and the other
async function isInForce(platform: Platform): Promise<boolean> {
  const [check] = await checkThroughResolver(namesToCheck(platform).slice(0, 1))
  return check?.problem === undefined
}

/** Takes back what other adapters than the chosen one left from an earlier run. */
export async function undoOtherResolvers(chosen: ResolverAdapter, journal: Journal): Promise<Undone[]> {
  const undone: Undone[] = []
  for (const { kind } of resolvers) {
    if (kind !== chosen.kind) undone.push(...(await journal.undo({ scope: resolverScope(kind) })))
  }
  return undone
}
