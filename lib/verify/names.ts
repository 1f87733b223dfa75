import { Resolver } from 'node:dns/promises'
import type { Platform } from '../platform/platform.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { describeLookup, type Question } from '../system/lookup.ts'
import type { Check, CheckGroup, Tools } from './check.ts'

/** What answers for the names; not a service of the catalogue, because it runs on the machine itself. */
const nameServer = 'dnsmasq'
const hint = 'task setup-dnsmasq'

/** Every name has its address for the programs on this machine, every other name of the domain that of the applications, and none has an IPv6 address. */
export const names: CheckGroup = ({ platform, lookups, unique, ipv6Answer }) => [
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
      const unanswered = all.find(({ answer }) => answer.error === 'timeout' || answer.error === 'EAI_AGAIN')
      if (unanswered) throw new PlatformError(`${unanswered.name}: ${describeLookup(unanswered.answer)}`)
      // NXDOMAIN or REFUSED breaks programs that link musl; glibc accepts them
      const [first] = platform.names
      const code = first && (await ipv6Answer(first.name, signal))
      if (code !== undefined && code !== 'ENODATA')
        throw new PlatformError(`AAAA of ${first?.name} is answered with ${code}, should be empty`)
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
 * The name server's answer to AAAA of a name: `ENODATA` for an empty answer, another code, or 'an address'. The system resolver does not tell
 * empty from 'no such name', so this asks the server itself; undefined where resolv.conf names one that is not the one the system asks
 * for this domain (nss-resolve, /etc/resolver), because it has nothing to say about it.
 */
export async function ipv6Answer(name: string, signal: AbortSignal): Promise<string | undefined> {
  const resolver = new Resolver({ timeout: 1000, tries: 1 })
  signal.addEventListener('abort', () => resolver.cancel(), { once: true })
  const known = await resolver.resolve4(name).catch(() => [])
  if (known.length === 0) return undefined
  return resolver.resolve6(name).then(
    () => 'an address',
    error => ('code' in error ? String(error.code) : messageOf(error)),
  )
}
