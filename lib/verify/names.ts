import { Resolver } from 'node:dns/promises'
import { messageOf, PlatformError } from '../errors.ts'
import { describeLookup, type Question } from '../lookup.ts'
import type { Platform } from '../platform.ts'
import type { Check, Family, Tools } from './check.ts'

/** Who answers for the names; not a service of the catalogue, because it runs on the machine itself. */
const nameServer = 'dnsmasq'
const hint = 'task setup-dnsmasq'

/** Every name has its address for the programs on this machine, every other name of the domain that of the applications, and none has an IPv6 address. */
export const names: Family = ({ platform, lookups, unique }) => [
  ...platform.names.map(({ name, ip }) => addressCheck(name, ip, async () => lookups(name))),
  addressCheck(`*.${platform.domain}`, platform.wildcard, async () => lookups(unknownName(platform, unique))),
  {
    name: `no IPv6 address in ${platform.domain}`,
    service: nameServer,
    needs: [`*.${platform.domain}`],
    hint,
    async run({ signal }) {
      const all = await Promise.all(
        namesAsked(platform, unique).map(async name => ({ name, answer: await lookups(name, 6) })),
      )
      const wrong = all.find(({ answer }) => answer.addresses.length > 0)
      if (wrong) throw new PlatformError(`${wrong.name} has the IPv6 address ${describeLookup(wrong.answer)}`)
      const slow = all.find(({ answer }) => answer.error === 'timeout')
      if (slow) throw new PlatformError(`${slow.name}: ${describeLookup(slow.answer)}`)
      await requireNoData(platform.names[0]?.name ?? platform.domain, signal)
      return `${all.length} names, none has one`
    },
  },
]

/** What has to be looked up for all checks of a run. */
export function questionsOf(platform: Platform, unique: string): Question[] {
  return namesAsked(platform, unique).flatMap(name => [
    { name, family: 4 as const },
    { name, family: 6 as const },
  ])
}

function namesAsked(platform: Platform, unique: string): string[] {
  return [...platform.names.map(({ name }) => name), unknownName(platform, unique)]
}

function unknownName({ domain }: Platform, unique: string): string {
  return `${unique}.${domain}`
}

function addressCheck(
  name: string,
  ip: string,
  look: (tools: Tools) => Promise<{ addresses: readonly string[]; error?: string }>,
): Check {
  return {
    name,
    service: nameServer,
    hint,
    async run(tools) {
      const answer = await look(tools)
      if (answer.addresses.length === 1 && answer.addresses[0] === ip) return ip
      throw new PlatformError(`${describeLookup(answer)}, should be ${ip}`)
    },
  }
}

/**
 * 'No such name' or a refusal in place of an empty answer to AAAA breaks programs that link musl, though glibc forgives it. The system
 * resolver does not tell them apart, so this asks the name server itself, where that is the one the system asks.
 */
async function requireNoData(name: string, signal: AbortSignal): Promise<void> {
  const resolver = new Resolver({ timeout: 1000, tries: 1 })
  signal.addEventListener('abort', () => resolver.cancel(), { once: true })
  try {
    await resolver.resolve4(name)
  } catch {
    // resolv.conf names a server that is not asked for this domain (nss-resolve, /etc/resolver): it has nothing to say about it
    return
  }
  const code = await resolver.resolve6(name).then(
    () => 'an address',
    error => ('code' in error ? String(error.code) : messageOf(error)),
  )
  if (code !== 'ENODATA') throw new PlatformError(`AAAA of ${name} is answered with ${code}, should be empty`)
}
