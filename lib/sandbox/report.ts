import type { SupplyEvent } from '../supply/cache.ts'
import type { StepProgress } from '../system/progress.ts'

/** What suppliers do, for the steps that watch them one after the other. */
export interface SupplyReport {
  report(event: SupplyEvent): void
  /** Shows it beside the step's title while `action` runs; what took longer than a blink gets a line that stays. */
  during<T>(progress: StepProgress, action: () => Promise<T>): Promise<T>
}

/** Remembers what goes on while no step is watching. */
export function supplyReport(): SupplyReport {
  const busy = new Map<string, string>()
  const unsaid: string[] = []
  let watching: StepProgress | undefined
  const show = () => {
    if (watching === undefined) return
    for (const line of unsaid.splice(0)) watching.line(line)
    watching.update([...busy.values()].join('; '))
  }
  return {
    report({ what, state, detail, seconds = 0 }) {
      if (state === 'ready') {
        busy.delete(what)
        if (seconds >= 1) unsaid.push(`${what}: ${detail}, ${seconds.toFixed(1)} s`)
      } else busy.set(what, `${what}: ${detail}`)
      show()
    },
    async during(progress, action) {
      watching = progress
      show()
      try {
        return await action()
      } finally {
        watching = undefined
      }
    },
  }
}
