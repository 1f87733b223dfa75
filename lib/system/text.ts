import { stripVTControlCharacters } from 'node:util'

/** Columns that lines are made for where nobody says how wide the terminal is. */
export const usualColumns = 100

function lengthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length
}

/** A line without colours, cut at its end to fit so many columns. */
export function fitted(line: string, columns: number): string {
  const characters = [...line]
  return characters.length <= columns ? line : `${characters.slice(0, Math.max(0, columns - 1)).join('')}…`
}

/** Text whose lines are broken between words to fit so many columns, where they can; what continues a line is indented by `indent`. */
export function wrapped(text: string, columns: number, indent: string): string {
  return text
    .split('\n')
    .map(line => (lengthOf(line) <= columns ? line : wrappedLine(line, columns, indent)))
    .join('\n')
}

function wrappedLine(line: string, columns: number, indent: string): string {
  const [, margin = '', words = ''] = /^(\s*)(.*)$/.exec(line) ?? []
  const lines: string[] = []
  let current = margin
  for (const word of words.split(' ')) {
    const longer = current.trim() === '' ? current + word : `${current} ${word}`
    if (lengthOf(longer) <= columns || current.trim() === '') {
      current = longer
    } else {
      lines.push(current)
      current = indent + word
    }
  }
  return [...lines, current].map(part => part.trimEnd()).join('\n')
}

/**
 * Rows as an aligned text table with a header line; cells may carry colours.
 * Column widths follow the longest cell, the last column is not padded; with `columns`, it is broken between words to fit them.
 */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  columns = Number.POSITIVE_INFINITY,
): string {
  const widths = header.map((name, column) => Math.max(lengthOf(name), ...rows.map(row => lengthOf(row[column] ?? ''))))
  const margin = ' '.repeat(widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0))
  const line = (cells: readonly string[]) => {
    const padded = cells.map((cell, column) =>
      column === cells.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - lengthOf(cell)),
    )
    return wrapped(padded.join('  ').trimEnd(), columns, margin)
  }
  return [line(header), ...rows.map(line)].join('\n')
}

/** A number of bytes for people: `812 B`, `3.4 MB`, `1.2 GB`. */
export function bytes(count: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = Math.min(units.length - 1, count < 1000 ? 0 : Math.floor(Math.log10(count) / 3))
  return `${(count / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`
}

/** A count with its noun: `1 file`, `3 files`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`
}

/** How long ago, in the largest unit that says enough: `12 s`, `3 min`, `5 h`, `2 days`. */
export function elapsed(since: Date | undefined, now: Date): string {
  if (since === undefined) return ''
  const seconds = Math.max(0, Math.round((now.getTime() - since.getTime()) / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} days`
}
