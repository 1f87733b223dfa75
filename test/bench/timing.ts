import { spawnSync } from 'node:child_process'
import { root } from '../../lib/system/checkout.ts'

/** Seconds that a command takes; it has to succeed. */
export function seconds(
  command: readonly string[],
  { cwd = root, env = {} }: { cwd?: string; env?: Record<string, string> } = {},
): number {
  const [program = '', ...words] = command
  const started = performance.now()
  const { status, stdout, stderr } = spawnSync(program, words, {
    encoding: 'utf8',
    cwd,
    env: { ...process.env, ...env },
  })
  if (status !== 0) throw new Error(`${command.join(' ')} ended with ${status}\n${stdout}\n${stderr}`)
  return (performance.now() - started) / 1000
}

/** Seconds that a task takes, as npm runs it. */
export const taskSeconds = (...words: string[]) => seconds(['node', 'lib/cli/launch.mjs', ...words])

export function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** Seconds of each round. */
export interface Comparison {
  ours: number[]
  theirs: number[]
}

/** Ours against the bare commands, turn by turn, so that whatever else the machine does meets both alike. */
export async function compare(
  rounds: number,
  before: () => unknown,
  ours: () => number | Promise<number>,
  theirs: () => number | Promise<number>,
): Promise<Comparison> {
  const taken: Comparison = { ours: [], theirs: [] }
  for (let round = 0; round < rounds; round += 1) {
    await before()
    taken.theirs.push(await theirs())
    await before()
    taken.ours.push(await ours())
  }
  return taken
}

/** A row of the result, judged by the median of the rounds' ratios: one round's two halves meet the same machine. */
export function ratioRow(what: string, { ours, theirs }: Comparison, goal: number): string[] {
  const ratios = ours.map((taken, round) => taken / (theirs[round] ?? Number.NaN))
  return [what, spread(ours), spread(theirs), spread(ratios), `≤ ${goal}`, met(median(ratios), goal)]
}

/** A row for what took `taken` seconds, where `allowed` is the most beyond what `theirs` took. */
export function timeRow(what: string, taken: readonly number[], allowed: number, theirs?: readonly number[]): string[] {
  const beyond = median(taken) - (theirs === undefined ? 0 : median(theirs))
  const plus = theirs === undefined ? '' : '+'
  const bare = theirs === undefined ? ['', ''] : [spread(theirs), `+${beyond.toFixed(2)}`]
  return [what, spread(taken), ...bare, `≤ ${plus}${allowed}`, met(beyond, allowed)]
}

const met = (value: number, goal: number) => (value <= goal ? 'met' : '**missed**')

export const header = ['seconds, median (smallest–largest)', 'ours', 'bare', 'ratio', 'goal', ''] as const

/** Median, smallest and largest: `0.12 (0.11–0.14)`. */
export function spread(values: readonly number[], digits = 2): string {
  const shown = (value: number) => (digits === 0 ? Math.round(value).toLocaleString('en') : value.toFixed(digits))
  return `${shown(median(values))} (${shown(Math.min(...values))}–${shown(Math.max(...values))})`
}

/** How often each row is measured, `--rounds` of `npm run bench`. */
export const rounds = Number(process.env.BENCH_ROUNDS ?? 5)
