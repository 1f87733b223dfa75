import { lookup } from 'node:dns/promises'
import type { Name, Platform } from '../platform/platform.ts'
import type { Address } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { lookUp } from '../system/lookup.ts'
import type { Duration } from '../system/stall.ts'
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

/** Whether this machine's own resolver knows a name; no, where it does not answer within a second. */
export async function isResolved(name: string): Promise<boolean> {
  if (process.platform === 'darwin') return (await lookUp([{ name, family: 4 }], 1000)(name)).addresses.length > 0
  return (await addressesOf([name], '1s')).size > 0
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

// getent is a fresh process, so it reads the resolver's settings of now; macOS has none. `hosts` shows IPv6 addresses where there are any,
// IPv4 ones elsewhere, and also answers on a machine that has no network but itself, where `ahosts` does not.
async function addressesOf(names: readonly string[], timeout: Duration = '3s'): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  if (process.platform === 'darwin') {
    for (const name of names) {
      const answers = await lookup(name, { all: true }).catch(() => [])
      if (answers.length > 0) found.set(name, [...new Set(answers.map(({ address }) => address))])
    }
    return found
  }
  const take = (line: string) => {
    const [address = '', ...called] = line.split(/\s+/)
    for (const name of names)
      if (called.includes(name)) found.set(name, [...new Set([...(found.get(name) ?? []), address])])
  }
  // glibc repeats a query only after 5 s: a new lookup is quicker, and one without an answer has failed
  await $({ timeout, nothrow: true, onLine: take })`getent hosts ${names}`.catch(() => undefined)
  return found
}
