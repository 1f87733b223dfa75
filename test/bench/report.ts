import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { root } from '../../lib/system/checkout.ts'
import { rounds } from './timing.ts'

const file = join(root, 'docs', 'performance.md')

/** Prints a section and puts it in docs/performance.md, between the markers of its name; what stands outside of markers is written by hand. */
export function report(name: string, lines: readonly string[]): void {
  const text = [...lines, '', `_${rounds} rounds, ${new Date().toISOString().slice(0, 10)}, on ${machine()}._`].join(
    '\n',
  )
  process.stdout.write(`${text}\n`)
  const [begin, end] = [`<!-- bench ${name} -->`, `<!-- end of bench ${name} -->`]
  const before = existsSync(file) ? readFileSync(file, 'utf8') : '# Performance\n'
  const [from, to] = [before.indexOf(begin), before.indexOf(end)]
  const block = `${begin}\n${text}\n${end}`
  writeFileSync(
    file,
    from < 0 ? `${before.trimEnd()}\n\n${block}\n` : before.slice(0, from) + block + before.slice(to + end.length),
  )
}

/** Processors, memory, kernel and Node of this machine, and how busy others keep it: a figure is worth little without them. */
export function machine(): string {
  const [first] = cpus()
  const load = readFileSync('/proc/loadavg', 'utf8').split(' ')[0]
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`
  const name = execFileSync('sh', ['-c', '. /etc/os-release; echo "$PRETTY_NAME"'], { encoding: 'utf8' }).trim()
  return `${cpus().length} × ${first?.model}, ${memory}, ${name}, Linux ${release().split('-')[0]}, Node ${process.versions.node}; load ${load}`
}

/** A Markdown table. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)]
}
