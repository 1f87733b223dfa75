/** A step, and the steps that have to be done before it. */
export interface Waiting {
  name: string
  after: readonly string[]
}

/** How far a step came. */
export type StepState = 'done' | 'failed' | 'not begun'

/**
 * Runs each step as soon as all that it waits for is done, at most `limit` at once. After a failure whatever waits for that step is not begun, and
 * all else goes on; after the signal nothing more is begun. Resolves when nothing runs any more. `run` says whether the step is done, and never
 * rejects. The names in `after` have to be those of steps, without a circle.
 */
export async function runGraph(
  steps: readonly Waiting[],
  run: (name: string) => Promise<boolean>,
  { limit = Number.POSITIVE_INFINITY, signal }: { limit?: number; signal?: AbortSignal | undefined } = {},
): Promise<Map<string, StepState>> {
  const states = new Map<string, StepState>()
  const running = new Map<string, Promise<void>>()
  const begin = async (name: string) => {
    const isDone = await run(name)
    states.set(name, isDone ? 'done' : 'failed')
    running.delete(name)
  }
  for (;;) {
    const ready = steps.filter(
      ({ name, after }) =>
        !states.has(name) && !running.has(name) && after.every(other => states.get(other) === 'done'),
    )
    if (!signal?.aborted)
      for (const { name } of ready.slice(0, Math.max(0, limit - running.size))) running.set(name, begin(name))
    if (running.size === 0) break
    await Promise.race(running.values())
  }
  return new Map(steps.map(({ name }) => [name, states.get(name) ?? 'not begun']))
}

/** A step that has run, in seconds from the beginning of the whole. */
export interface Timed extends Waiting {
  start: number
  end: number
}

/**
 * The steps that made the whole as long as it was, first to last: from the one that ended last back to the one that it had to wait for longest,
 * and so on.
 */
export function criticalPath(steps: readonly Timed[]): string[] {
  const latest = (some: readonly Timed[]) => some.toSorted((one, other) => other.end - one.end)[0]
  const path: string[] = []
  for (let step = latest(steps); step !== undefined; ) {
    path.unshift(step.name)
    const { after } = step
    step = latest(steps.filter(({ name }) => after.includes(name)))
  }
  return path
}
