import type { StepProgress } from '../output.ts'
import type { SupplyEvent } from './cache.ts'

/** Shows what suppliers do beside a step's title; what took longer than a blink gets a line that stays. */
export function reportTo(progress: StepProgress): (event: SupplyEvent) => void {
  const busy = new Map<string, string>()
  return ({ what, state, detail, seconds = 0 }) => {
    if (state === 'ready') {
      busy.delete(what)
      if (seconds >= 1) progress.line(`${what}: ${detail}, ${seconds.toFixed(1)} s`)
    } else busy.set(what, `${what}: ${detail}`)
    progress.update([...busy.values()].join('; '))
  }
}
