import type { Journal, Outcome } from '../../journal/journal.ts'
import type { Owner } from '../../platform/owner.ts'
import type { Address } from '../../system/address.ts'
import type { ResolverFacts } from './facts.ts'
import type { Upstream } from './resolv-conf-file.ts'

/** One way in which machines resolve names, and how it is pointed at our dnsmasq. Undone through the journal's scope `dns/resolver/<kind>`. */
export interface ResolverAdapter {
  /** As in RESOLVER of `.env`. */
  kind: string
  /** For people: who decides on names on this machine. */
  title: string
  /** Whether it is the one that decides here; also after it was applied. */
  detect(facts: ResolverFacts): boolean
  /** Throws where this machine is in a state in which it cannot be applied. Called before anything is changed. */
  check(facts: ResolverFacts): void
  /** Where dnsmasq may listen, best first. */
  listens(loopback: string): Address[]
  /** Where dnsmasq sends the names that are not ours; with the content of that file where it is for us to write. */
  upstream(facts: ResolverFacts, listen: Address): { upstream: Upstream; servers?: string[] }
  /** Files that `apply` changes, which have to be writable. */
  changes: readonly string[]
  /** Makes the machine's resolver read its settings again; absent where it reads them with each lookup. */
  refresh?(journal: Journal): Promise<void>
  /** Points the machine's resolver at our dnsmasq, which runs by now. */
  apply(context: ResolverContext): Promise<Outcome>
}

export interface ResolverContext {
  facts: ResolverFacts
  domain: string
  listen: Address
  journal: Journal
  owner: Owner
}
