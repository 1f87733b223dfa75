import fc from 'fast-check'
import { countInputs } from './fault-table.ts'

/** How many inputs a property is tried with: `runs` in the unit tests, MACULA_FAULT_RUNS times as many in `npm run test:faults`. */
export function tries<T>(runs: number): fc.Parameters<T> {
  return { numRuns: Math.round(runs * Number(process.env.MACULA_FAULT_RUNS || 1)) }
}

/**
 * Tries generated inputs and counts what became of them: refused with its place, or taken exactly, which `outcomeOf` has to make sure of. What it
 * throws fails the test, with the smallest input that does it.
 */
export function tryInputs<T>(
  kind: string,
  inputs: fc.Arbitrary<T>,
  runs: number,
  outcomeOf: (input: T) => 'refused' | 'exact',
): void {
  const counts = { tried: 0, refused: 0, exact: 0, crashed: 0 }
  const property = fc.property(inputs, input => {
    counts.tried += 1
    try {
      counts[outcomeOf(input)] += 1
    } catch (error) {
      counts.crashed += 1
      throw error
    }
  })
  try {
    fc.assert(property, tries(runs))
  } finally {
    countInputs(kind, counts)
  }
}
