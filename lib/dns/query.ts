import { Resolver } from 'node:dns/promises'
import type { Address } from '../system/address.ts'

/** What a DNS server said: records, `empty` (the name exists, not with this type), `no such name`, or why there was no answer. */
export type Answer =
  | { kind: 'records'; records: string[] }
  | { kind: 'empty' }
  | { kind: 'no such name' }
  | { kind: 'failed'; why: string }

/** Queries one DNS server, once, and not the machine's resolver. */
export async function query(
  server: Address,
  name: string,
  type: 'A' | 'AAAA' | 'TXT',
  timeoutMs = 1000,
): Promise<Answer> {
  const resolver = new Resolver({ timeout: timeoutMs, tries: 1 })
  resolver.setServers([`${server.ip}:${server.port}`])
  try {
    const records = (await resolver.resolve(name, type)) as (string | string[])[]
    return { kind: 'records', records: records.map(record => (typeof record === 'string' ? record : record.join(''))) }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (code === 'ENODATA') return { kind: 'empty' }
    if (code === 'ENOTFOUND') return { kind: 'no such name' }
    return { kind: 'failed', why: code }
  }
}
