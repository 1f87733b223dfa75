import type { Name } from '../../lib/platform/platform.ts'
import type { Machine } from './machine.ts'

/** What programs on a machine get for a name. */
export interface NameAnswer {
  name: string
  /** First address that `getent hosts` prints; empty for none. */
  getent: string
  /** What a DNS library that asks the server itself gets for AAAA: addresses, or its error code. */
  aaaa: string
  /** What getaddrinfo for IPv6 alone gives: addresses, or its error code. */
  lookup6: string
  /** Mean of both IPv6 questions. */
  milliseconds: number
}

/** Asks for names on a machine in three ways: getent, getaddrinfo and plain DNS. */
export async function askNames(machine: Machine, names: readonly string[]): Promise<NameAnswer[]> {
  const { stdout } = await machine.run(['node', '--input-type=module', '-', ...names], { input: namesScript })
  return JSON.parse(stdout) as NameAnswer[]
}

/** What is wrong with the answers, one line each: every name its address, no IPv6 address, no error for asking, and no delay. */
export function wrongAnswers(answers: readonly NameAnswer[], expected: readonly Name[]): string[] {
  return expected.flatMap(({ name, ip }) => {
    const answer = answers.find(each => each.name === name)
    const good =
      answer?.getent === ip &&
      answer.aaaa === 'ENODATA' &&
      answer.lookup6 === 'ENOTFOUND' &&
      // a resolver that waits for multicast DNS or a second server takes seconds
      answer.milliseconds < 500
    return good ? [] : [`${name} should be ${ip}, without IPv6 and at once: ${JSON.stringify(answer)}`]
  })
}

/** How a machine answers names that are none of the platform's business. */
export interface OtherNames {
  address: string
  text: string
  bySearchDomain: string
  reverse: string
  missing: string
  /** Whether the network's server was asked for the first of them. */
  upstreamWasAsked: boolean
  /** Names of the platform's domain that it was asked for. */
  leaked: string[]
}

/** What test/machines/upstream.conf answers, asked through the network's own server. */
export const otherNamesAsUsual: OtherNames = {
  address: '192.0.2.10',
  text: 'as it was',
  bySearchDomain: '192.0.2.20',
  reverse: 'www.other.test',
  missing: 'ENOTFOUND',
  upstreamWasAsked: true,
  leaked: [],
}

/** Asks a machine for other names; `leaked` covers everything since the last call or `upstreamQueries`. */
export async function askOtherNames(machine: Machine, domain: string): Promise<OtherNames> {
  await machine.ask(['sh', '-c', 'command -v resolvectl >/dev/null && resolvectl flush-caches; true'])
  const before = await machine.upstreamQueries()
  const { stdout } = await machine.run(['node', '--input-type=module', '-'], { input: otherNamesScript })
  const queries = await machine.upstreamQueries()
  return {
    ...(JSON.parse(stdout) as Omit<OtherNames, 'upstreamWasAsked' | 'leaked'>),
    upstreamWasAsked: queries.includes('A www.other.test'),
    leaked: [...before, ...queries].filter(query => query.endsWith(`.${domain}`)),
  }
}

const namesScript = `
import { execFile } from 'node:child_process'
import { lookup, resolve6 } from 'node:dns/promises'
const words = promise => promise.then(found => found.map(each => each.address ?? each).join(' '), error => error.code)
const getent = name => new Promise(resolve => execFile('getent', ['hosts', name], (_, out) => resolve(out.split(/\\s/)[0])))
const answers = []
for (const name of process.argv.slice(2)) {
  const address = await getent(name)
  const started = performance.now()
  const [aaaa, lookup6] = [await words(resolve6(name)), await words(lookup(name, { family: 6, all: true }))]
  answers.push({ name, getent: address, aaaa, lookup6, milliseconds: Math.round((performance.now() - started) / 2) })
}
console.log(JSON.stringify(answers))
`

const otherNamesScript = `
import { lookup, resolveTxt, reverse } from 'node:dns/promises'
const words = promise => promise.then(found => [found].flat(2).map(each => each.address ?? each).join(' '), error => error.code)
console.log(JSON.stringify({
  address: await words(lookup('www.other.test', { family: 4 })),
  text: await words(resolveTxt('text.other.test')),
  bySearchDomain: await words(lookup('intranet', { family: 4 })),
  reverse: await words(reverse('192.0.2.10')),
  missing: await words(lookup('nothing.test')),
}))
`
