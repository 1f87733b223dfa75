import { join } from 'node:path'
import { root } from './checkout.ts'
import { $, type Shell } from './exec.ts'

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
 * `timeoutMs` gets `timeout`. Only names that were asked for can be looked up in the result.
 */
export function lookUp(questions: readonly Question[], timeoutMs: number, shell: Shell = $): Lookups {
  const pending = new Map(questions.map(({ name, family }) => [`${family}:${name}`, deferred<LookupAnswer>()]))
  const settleRest = () => {
    for (const { resolve } of pending.values()) resolve({ addresses: [], error: 'timeout' })
  }
  if (pending.size > 0) {
    shell({
      // the script ends itself at its time
      timeout: timeoutMs + 5000,
      env: { UV_THREADPOOL_SIZE: String(Math.min(pending.size, 128)) },
      onLine(line, stream) {
        if (stream !== 'stdout') return
        const { question, ...answer } = JSON.parse(line) as LookupAnswer & { question: string }
        pending.get(question)?.resolve(answer)
      },
    })`${process.execPath} ${script} ${timeoutMs} ${[...pending.keys()]}`.then(settleRest, settleRest)
  }
  return (name, family = 4) =>
    pending.get(`${family}:${name}`)?.promise ?? Promise.resolve({ addresses: [], error: 'not asked' })
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
