import type { Parameters as PropertyOptions } from 'fast-check'

/** How many inputs a property is tried with: `runs` in the unit tests, MACULA_FAULT_RUNS times as many in `npm run test:faults`. */
export function tries<T>(runs: number): PropertyOptions<T> {
  return { numRuns: Math.round(runs * Number(process.env.MACULA_FAULT_RUNS || 1)) }
}
