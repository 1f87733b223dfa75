import { spawnSync } from 'node:child_process'
import { root } from '../../lib/env.ts'

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
export const taskSeconds = (...words: string[]) => seconds(['node', 'lib/launch.mjs', ...words])

export function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** Ours against the bare commands, turn by turn, so that whatever else the machine does meets both alike. Medians, in seconds. */
export async function compare(
  rounds: number,
  before: () => unknown,
  ours: () => number | Promise<number>,
  theirs: () => number | Promise<number>,
): Promise<{ ours: number; theirs: number }> {
  const taken = { ours: [] as number[], theirs: [] as number[] }
  for (let round = 0; round < rounds; round += 1) {
    await before()
    taken.theirs.push(await theirs())
    await before()
    taken.ours.push(await ours())
  }
  return { ours: median(taken.ours), theirs: median(taken.theirs) }
}

export const inSeconds = (value: number) => `${value.toFixed(2)} s`

/** A row of the result: what, ours, bare, ratio, goal. */
export function ratioRow(what: string, { ours, theirs }: { ours: number; theirs: number }, goal: string): string[] {
  return [what, inSeconds(ours), inSeconds(theirs), (ours / theirs).toFixed(2), goal]
}

export const header = ['WHAT', 'OURS', 'BARE', 'RATIO', 'GOAL'] as const
