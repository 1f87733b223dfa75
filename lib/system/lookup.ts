import { join } from 'node:path'
import { root } from './checkout.ts'
import { $, type Shell } from './exec.ts'
import type { Duration } from './stall.ts'

/** What the system resolver said of one name. */
export interface LookupAnswer {
  addresses: readonly string[]
  /** Why there is no address: `ENOTFOUND`, `EAI_AGAIN`, or `timeout` where it did not answer. */
  error?: string
}

/** A name, and which kind of address to ask for: 4 (A) or 6 (AAAA). */
export interface Question {
  name: string
  family: 4 | 6
}

/** Answers come one by one; each is a promise that never rejects. */
export type Lookups = (name: string, family?: 4 | 6) => Promise<LookupAnswer>

/**
 * Asks the system resolver for all names at once, the way every program on this machine does (getaddrinfo). Whoever has no answer after
 * `timeoutMs`, and the third of a second before that in which getent is tried, gets `timeout`. Only names that were asked for can be looked up in the result.
 */
export function lookUp(questions: readonly Question[], timeoutMs: number, shell: Shell = $): Lookups {
  const pending = new Map(questions.map(({ name, family }) => [`${family}:${name}`, deferred<LookupAnswer>()]))
  void answerAll(pending, timeoutMs, shell).catch(() => {})
  return (name, family = 4) =>
    pending.get(`${family}:${name}`)?.promise ?? Promise.resolve({ addresses: [], error: 'not asked' })
}

type Pending = Map<string, ReturnType<typeof deferred<LookupAnswer>>>

/**
 * What resolves as it should is known from getent in some milliseconds, where there is one. All else is asked for by a process that can say why
 * there is no answer, and starts in the tenth of a second.
 */
async function answerAll(pending: Pending, timeoutMs: number, shell: Shell): Promise<void> {
  const rest = new Map(pending)
  const names = [...rest.keys()].filter(key => key.startsWith('4:')).map(key => key.slice(2))
  const found = process.platform === 'linux' ? await getentHosts(names, '300ms', shell) : new Map<string, string[]>()
  for (const [name, addresses] of found) {
    if (addresses.some(address => address.includes(':'))) continue
    rest.get(`4:${name}`)?.resolve({ addresses })
    rest.delete(`4:${name}`)
  }
  if (rest.size === 0) return
  await shell({
    // the script ends itself at its time
    timeout: timeoutMs + 5000,
    nothrow: true,
    env: { UV_THREADPOOL_SIZE: String(Math.min(rest.size, 128)) },
    onLine(line, stream) {
      if (stream !== 'stdout') return
      const { question, ...answer } = JSON.parse(line) as LookupAnswer & { question: string }
      rest.get(question)?.resolve(answer)
    },
  })`${process.execPath} ${script} ${timeoutMs} ${[...rest.keys()]}`.catch(() => {})
  for (const { resolve } of rest.values()) resolve({ addresses: [], error: 'timeout' })
}

/**
 * The addresses of names by `getent hosts`, one name after the other, as far as it comes in this time; empty where there is no getent. It is a fresh
 * process, so it reads the resolver's settings of now. `hosts` shows IPv6 addresses where there are any, IPv4 ones elsewhere, and
 * also answers on a machine that has no network but itself, where `ahosts` does not.
 */
export async function getentHosts(
  names: readonly string[],
  timeout: Duration,
  shell: Shell = $,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  if (names.length === 0) return found
  const onLine = (line: string) => {
    const [address = '', ...called] = line.split(/\s+/)
    for (const name of names)
      if (called.includes(name)) found.set(name, [...new Set([...(found.get(name) ?? []), address])])
  }
  // it only reads, so there is nothing that it could end in order
  await shell({ timeout, graceMs: 100, nothrow: true, onLine })`getent hosts ${names}`.catch(() => undefined)
  return found
}

/** The error codes of a lookup in words. */
export function describeLookup({ addresses, error }: LookupAnswer): string {
  if (addresses.length > 0) return addresses.join(', ')
  if (error === 'ENOTFOUND') return 'no address'
  if (error === 'EAI_AGAIN') return 'no name server answered'
  return error === 'timeout' ? 'the resolver did not answer in time' : `no address (${error})`
}

const script = join(root, 'lib', 'system', 'lookup.mjs')

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
