import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import type { Paths } from '../platform/settings.ts'
import { replaceFile } from '../system/files.ts'
import { table } from '../system/text.ts'
import { criticalPath } from './graph.ts'

const timedStep = z.object({
  name: z.string(),
  after: z.array(z.string()),
  /** Seconds from the beginning of the run. */
  start: z.number(),
  end: z.number(),
  state: z.enum(['done', 'failed', 'interrupted']),
  /** Whether it changed something: a step that finds all in place takes another time. */
  changed: z.boolean(),
})
const timedRun = z.object({ task: z.string(), at: z.string(), steps: z.array(timedStep) })

export type TimedStep = z.infer<typeof timedStep>
/** One run of a graph. */
export type TimedRun = z.infer<typeof timedRun>

/** Enough for a median, and for a week of mornings. */
const keptRuns = 50
/** Fewer earlier runs say nothing about what is usual. */
const enoughRuns = 3
/** More than this and a step has grown. */
const growth = 4 / 3
/** Differences of less are noise on any machine. */
const noiseSeconds = 0.5

function timingsFile({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'timings.jsonl')
}

/** The runs that are kept, oldest first. A line that is no run, as of another version, is passed over: nothing depends on it. */
export async function readTimings(paths: Pick<Paths, 'stateDir'>): Promise<TimedRun[]> {
  const text = await readFile(timingsFile(paths), 'utf8').catch(() => '')
  return text.split('\n').flatMap(line => {
    try {
      const parsed = timedRun.safeParse(JSON.parse(line))
      return parsed.success ? [parsed.data] : []
    } catch {
      return []
    }
  })
}

/** Keeps a run, and of all the last 50. A run that put nothing into the state folder leaves nothing there. */
export async function keepRun(paths: Pick<Paths, 'stateDir'>, run: TimedRun): Promise<void> {
  const present = await readdir(paths.stateDir).catch(() => [])
  if (present.every(name => name === 'lock')) return
  const runs = [...(await readTimings(paths)), run].slice(-keptRuns)
  await replaceFile(timingsFile(paths), runs.map(each => `${JSON.stringify(each)}\n`).join(''), { mode: 0o644 })
}

/** Median seconds of a step in earlier runs in which it was done and did the same: changed something, or nothing. undefined where there are too few. */
export function medianOf(
  runs: readonly TimedRun[],
  { name, changed }: Pick<TimedStep, 'name' | 'changed'>,
): number | undefined {
  const seconds = runs
    .flatMap(({ steps }) => steps)
    .filter(step => step.name === name && step.state === 'done' && step.changed === changed)
    .map(({ start, end }) => end - start)
    .sort((one, other) => one - other)
  if (seconds.length < enoughRuns) return undefined
  const middle = Math.floor(seconds.length / 2)
  return seconds.length % 2 === 1 ? seconds[middle] : (seconds[middle - 1]! + seconds[middle]!) / 2
}

/** What a step usually takes at most, while it runs and nobody knows yet whether it will change something. */
export function usualOf(runs: readonly TimedRun[], name: string): number | undefined {
  const medians = [true, false].flatMap(changed => medianOf(runs, { name, changed }) ?? [])
  return medians.length === 0 ? undefined : Math.max(...medians)
}

/** One step of a run beside earlier ones. */
export interface ComparedStep extends TimedStep {
  seconds: number
  critical: boolean
  /** Seconds in earlier runs; null where there are too few. */
  median: number | null
  /** Whether it took more than a third more than that. */
  grown: boolean
}

/** The last run, each step beside its earlier ones, in the order in which they began; undefined where there is none. */
export function compareLast(
  runs: readonly TimedRun[],
): { at: string; seconds: number; steps: ComparedStep[] } | undefined {
  const last = runs.at(-1)
  if (last === undefined) return undefined
  const earlier = runs.slice(0, -1)
  const critical = new Set(criticalPath(last.steps))
  const steps = last.steps
    .toSorted((one, other) => one.start - other.start)
    .map(step => {
      const seconds = round(step.end - step.start)
      const median = medianOf(earlier, step)
      const grown = median !== undefined && seconds > median * growth && seconds - median > noiseSeconds
      return {
        ...step,
        seconds,
        critical: critical.has(step.name),
        median: median === undefined ? null : round(median),
        grown,
      }
    })
  return { at: last.at, seconds: Math.max(0, ...last.steps.map(({ end }) => end)), steps }
}

/** Characters of the time axis. */
const axis = 48

/** The steps as bars along the time axis; `█` on the critical path, `░` beside it. */
export function drawRun(seconds: number, steps: readonly ComparedStep[]): string {
  const column = (at: number) => (seconds === 0 ? 0 : Math.min(axis, Math.round((at / seconds) * axis)))
  const rows = steps.map(step => {
    const from = column(step.start)
    const bar = (step.critical ? '█' : '░').repeat(Math.max(1, column(step.end) - from))
    const usual = step.median === null ? '' : `${step.median.toFixed(1)} s`
    const grown = step.grown ? `${Math.round((step.seconds / step.median! - 1) * 100)} % longer` : ''
    const state = step.state === 'done' ? '' : step.state
    return [
      step.name,
      `${' '.repeat(from)}${bar}`,
      `${step.seconds.toFixed(1)} s`,
      usual,
      [state, grown].filter(Boolean).join(', '),
    ]
  })
  const scale = `0${`${seconds.toFixed(1)} s`.padStart(axis - 1)}`
  return table(['STEP', scale, 'TOOK', 'USUALLY', ''], rows)
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000
}
