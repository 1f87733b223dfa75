import type { SupplyEvent } from '../supply/cache.ts'
import type { StepProgress } from '../system/progress.ts'

/** What suppliers do, for the steps that watch them one after the other. */
export interface SupplyReport {
  report(event: SupplyEvent): void
  /** Shows it beside the step's title while `action` runs; what took longer than a blink gets a line that stays. */
  during<T>(progress: StepProgress, action: () => Promise<T>): Promise<T>
}

/** Something that is built, or about to be. */
interface Work {
  state: SupplyEvent['state']
  detail: string
  /** Seconds alone on two processors; 0 for what is no compile. */
  work: number
  /** When it took up its present state, and when it was first worked on, in milliseconds. */
  since: number
  begunAt?: number | undefined
}

/** Remembers what goes on while no step is watching. `now` in milliseconds. */
export function supplyReport(now: () => number = () => performance.now()): SupplyReport {
  const works = new Map<string, Work>()
  const unsaid: string[] = []
  let watching: StepProgress | undefined
  const show = () => {
    for (const line of watching ? unsaid.splice(0) : []) watching?.line(line)
    watching?.update(summaryOf(works, now()), rowsOf(works, now()))
  }
  return {
    report({ what, state, detail, work, seconds = 0 }) {
      const known = works.get(what)
      const since = known?.state === state ? known.since : now()
      const begunAt = known?.begunAt ?? (state === 'building' ? since : undefined)
      works.set(what, { state, detail, work: work ?? known?.work ?? 0, since, begunAt })
      if (state === 'ready' && seconds >= 1) unsaid.push(`${what}: ${detail}, ${seconds.toFixed(1)} s`)
      show()
    },
    async during(progress, action) {
      watching = progress
      show()
      // counts on while nothing is reported
      const clock = setInterval(show, 1000)
      clock.unref()
      try {
        return await action()
      } finally {
        clearInterval(clock)
        watching = undefined
      }
    },
  }
}

/** `3 of 9 programs, about 4 min left; kubernetes: linking kubelet`. Only what is worked on now; what is queued is only counted. */
function summaryOf(works: ReadonlyMap<string, Work>, nowMs: number): string {
  const now = [...works].filter(([, { state }]) => state === 'building')
  const waiting = [...works].filter(([, { state }]) => state === 'waiting')
  const doing = (now.length > 0 ? now : waiting).map(([what, { detail }]) => `${what}: ${detail}`)
  return [compiles([...works.values()], nowMs), ...doing].filter(Boolean).join('; ')
}

function compiles(works: readonly Work[], nowMs: number): string {
  const programs = works.filter(({ work }) => work > 0)
  const unfinished = programs.filter(isUnfinished)
  if (unfinished.length === 0) return ''
  const minutes = Math.ceil(secondsLeft(programs, nowMs) / 60)
  return `${programs.length - unfinished.length} of ${programs.length} programs, about ${minutes} min left`
}

/** From the shipped seconds of each program, and from how much longer those took that this machine has compiled so far. */
function secondsLeft(programs: readonly Work[], nowMs: number): number {
  const sum = (works: readonly Work[]) => works.reduce((seconds, { work }) => seconds + work, 0)
  const built = programs.filter(({ state, detail }) => state === 'ready' && detail === 'built')
  const building = programs.filter(({ state }) => state === 'building')
  const first = Math.min(...programs.map(({ begunAt = nowMs }) => begunAt))
  const latest = Math.max(first, ...built.map(({ since }) => since))
  const slowness = built.length === 0 ? 1 : Math.min(10, Math.max(0.5, (latest - first) / 1000 / sum(built)))
  const begun = Math.min((nowMs - latest) / 1000 / slowness, 0.9 * sum(building))
  return Math.max(30, (sum(programs.filter(isUnfinished)) - begun) * slowness)
}

/** What is worked on now, one row each, and how long it has taken so far. */
function rowsOf(works: ReadonlyMap<string, Work>, nowMs: number): string[] {
  const shown = [...works].filter(([, work]) => isUnfinished(work))
  const width = Math.max(0, ...shown.map(([what]) => what.length))
  return shown.map(([what, { state, detail, since }]) => {
    const seconds = Math.round((nowMs - since) / 1000)
    return `${what.padEnd(width)}  ${state === 'queued' ? 'queued' : `${detail}  ${seconds} s`}`
  })
}

function isUnfinished({ state }: Work): boolean {
  return state !== 'ready' && state !== 'failed'
}
