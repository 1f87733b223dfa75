import { readFile } from 'node:fs/promises'
import type { FileOptions, Journal, Outcome } from '../journal/journal.ts'
import { type Owner, signature } from '../platform/owner.ts'
import type { Name } from '../platform/platform.ts'
import { PlatformError } from '../system/errors.ts'

/** File of fixed names; every system reads it before it queries a server. */
export const hostsPath = '/etc/hosts'

const block = { begin: '# BEGIN Macula platform (setup-hosts)', end: '# END Macula platform' }

/** The text of a hosts file with our block of names at its end, in the place of an earlier one; everything else stays as written. */
export function withNames(text: string, names: readonly Name[], owner: Owner): string {
  const rest = withoutNames(text)
  const byAddress = new Map<string, string[]>()
  for (const { name, ip } of names) byAddress.set(ip, [...(byAddress.get(ip) ?? []), name])
  const lines = [...byAddress].map(([ip, its]) => `${ip} ${its.join(' ')}`)
  return `${rest}${rest === '' || rest.endsWith('\n') ? '' : '\n'}${[block.begin, writtenBy(owner), ...lines, block.end, ''].join('\n')}`
}

/** The text without our block. Throws where the block has no end: what follows it may be somebody else's. */
export function withoutNames(text: string): string {
  const lines = text.split('\n')
  const first = lines.indexOf(block.begin)
  if (first < 0) return text
  const last = lines.indexOf(block.end, first)
  if (last < 0)
    throw new PlatformError(`${hostsPath} has a damaged block of the platform: its end is missing`, {
      hint: `Remove the lines that start at '${block.begin}' by hand`,
    })
  lines.splice(first, last - first + 1)
  return lines.join('\n')
}

const writtenBy = (owner: Owner) => `# Written by the Macula platform (${signature(owner)}).`

/** Writes the names into /etc/hosts; mode and owner stay as they are. */
export async function ensureHosts(
  names: readonly Name[],
  owner: Owner,
  journal: Journal,
  options: FileOptions,
): Promise<Outcome> {
  const before = await readFile(hostsPath, 'utf8').catch(() => '')
  return journal.writeFile(hostsPath, withNames(before, names, owner), { ...options, block })
}
