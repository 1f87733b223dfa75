import { lookup } from 'node:dns/promises'
import type { Name, Platform } from '../platform/platform.ts'
import type { Address } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { getentHosts } from '../system/lookup.ts'
import { NotYet, waitFor } from '../system/wait.ts'
import { query } from './query.ts'

/** One lookup, and what is wrong with its answer; `problem` is undefined for a good one. */
export interface NameCheck {
  what: string
  problem: string | undefined
}

/** Every name of the platform and one that only the wildcard answers. */
export function namesToCheck({ names, wildcard, domain }: Pick<Platform, 'names' | 'wildcard' | 'domain'>): Name[] {
  return [...names, { name: `anything.${domain}`, ip: wildcard }]
}

/** Looks up each name through the machine's own resolver, the way programs do. */
export async function checkThroughResolver(names: readonly Name[]): Promise<NameCheck[]> {
  const all = await addressesOf(names.map(({ name }) => name))
  // one process looks up one name after the other: those it had no time for are tried once more, side by side
  const checks = names.map(async ({ name, ip }) => {
    const addresses = all.get(name) ?? (await addressesOf([name])).get(name)
    const found = addresses?.join(', ') || 'no answer'
    const problem = `${name} should be ${ip}; this machine's resolver says: ${found}`
    return { what: name, problem: found === ip ? undefined : problem }
  })
  return Promise.all(checks)
}

/** Queries our dnsmasq itself for each name: IPv4, and an empty answer (no error) for IPv6. */
export async function checkServer(server: Address, names: readonly Name[]): Promise<NameCheck[]> {
  const at = `dnsmasq at ${server.ip}:${server.port}`
  const checks = names.map(async ({ name, ip }) => {
    const [four, six] = await Promise.all([query(server, name, 'A'), query(server, name, 'AAAA')])
    const found = four.kind === 'records' ? four.records.join(', ') : four.kind === 'failed' ? four.why : four.kind
    if (found !== ip) return { what: name, problem: `${name} should be ${ip}; ${at} says: ${found}` }
    return {
      what: name,
      problem:
        six.kind === 'empty' ? undefined : `${at} should answer AAAA of ${name} with nothing; it says: ${six.kind}`,
    }
  })
  return Promise.all(checks)
}

/** Repeats checks until all are good. Throws with what was seen last, and the hint, when the time is over. */
export async function verifyNames(
  check: () => Promise<NameCheck[]>,
  hint = 'task doctor',
  withinMs = 20_000,
): Promise<void> {
  let problems: string[] = []
  const look = async () => {
    problems = (await check()).flatMap(({ problem }) => problem ?? [])
    return problems.length === 0 ? undefined : new NotYet(problems.join('\n'))
  }
  // one whole look in any case: a machine without an answer needs longer for it than some deadlines are
  if ((await look()) === undefined) return
  const onTimeout = () =>
    new PlatformError(`Names are not answered as they should be, ${withinMs / 1000} s after the change`, {
      why: problems.join('\n'),
      hint,
    })
  await waitFor(look, { timeoutMs: withinMs, onTimeout })
}

async function addressesOf(names: readonly string[]): Promise<Map<string, string[]>> {
  // glibc repeats a query only after 5 s: a new lookup is quicker, and one without an answer has failed
  if (process.platform !== 'darwin') return getentHosts(names, '3s')
  const found = new Map<string, string[]>()
  for (const name of names) {
    const answers = await lookup(name, { all: true }).catch(() => [])
    if (answers.length > 0) found.set(name, [...new Set(answers.map(({ address }) => address))])
  }
  return found
}
