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

const inSeconds = (value: number) => `${value.toFixed(2)} s`

/** A row of the result, judged by the median of the rounds' ratios; their spread tells how restless the machine was. */
export function ratioRow(what: string, { ours, theirs }: Comparison, goal: number): string[] {
  const ratios = ours.map((taken, round) => taken / (theirs[round] ?? Number.NaN)).sort((one, other) => one - other)
  const ratio = median(ratios)
  const spread = [ratios[0], ratios.at(-1)].map(value => value?.toFixed(2)).join(' to ')
  const measured = [inSeconds(median(ours)), inSeconds(median(theirs)), ratio.toFixed(2), spread]
  return [what, ...measured, `<= ${goal}`, met(ratio, goal)]
}

/** A row for what took `taken` seconds, where `allowed` is the most beyond what `theirs` took. */
export function timeRow(what: string, taken: number, allowed: number, theirs?: number): string[] {
  const beyond = taken - (theirs ?? 0)
  const plus = theirs === undefined ? '' : '+'
  const measured = theirs === undefined ? ['', ''] : [inSeconds(theirs), `+${inSeconds(beyond)}`]
  return [what, inSeconds(taken), ...measured, '', `<= ${plus}${allowed} s`, met(beyond, allowed)]
}

const met = (value: number, goal: number) => (value <= goal ? 'met' : 'MISSED')

export const header = ['WHAT', 'OURS', 'BARE', 'RATIO', 'OF THE ROUNDS', 'GOAL', ''] as const
