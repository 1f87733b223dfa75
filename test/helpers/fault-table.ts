import { appendFileSync } from 'node:fs'

/**
 * Adds to a row of the table that `npm run test:faults` prints at its end: how many cases were tried, and in how many of them the bad thing that
 * the row is called after happened. A test still has to assert; the table only counts.
 */
export function countFaults(row: string, tried: number, happened: number): void {
  const file = process.env.FAULT_TABLE
  if (file) appendFileSync(file, `${JSON.stringify({ row, tried, happened })}\n`)
}

/** Adds to a row of the table of inputs: how many of a kind were tried, refused with their place, taken exactly, and ended in a crash. */
export function countInputs(
  kind: string,
  counts: { tried: number; refused: number; exact: number; crashed: number },
): void {
  const file = process.env.FAULT_TABLE
  if (file) appendFileSync(file, `${JSON.stringify({ kind, ...counts })}\n`)
}
