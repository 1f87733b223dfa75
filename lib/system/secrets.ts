import type { Options } from 'zx/core'

const secrets = new Set<string>()

/** Replaces these values by *** in every message and verbose log from now on. */
export function hideInMessages(values: readonly string[]): void {
  // a shorter one would blacken words that are no secrets
  for (const value of values) if (value.length >= 5) secrets.add(value)
}

/** A text without the secrets that are known. */
export function redacted(text: string): string {
  let shown = text
  for (const secret of secrets) shown = shown.replaceAll(secret, '***')
  return shown
}

/** A log that knows no secrets. What a command prints is handed on in whole lines: a secret may come in two pieces. */
export function redacting(log: Options['log']): Options['log'] {
  const rest: Record<string, Buffer> = {}
  return entry => {
    if (entry.kind === 'cmd') return log({ ...entry, cmd: redacted(entry.cmd) })
    if (entry.kind !== 'stdout' && entry.kind !== 'stderr') return log(entry)
    const data = Buffer.concat([rest[entry.kind] ?? Buffer.alloc(0), Buffer.from(entry.data)])
    const end = data.lastIndexOf('\n') + 1 // zx adds the one that is missing at the end
    rest[entry.kind] = data.subarray(end)
    if (end > 0) log({ ...entry, data: Buffer.from(redacted(data.toString('utf8', 0, end))) })
  }
}
