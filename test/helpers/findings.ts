import assert from 'node:assert/strict'
import type { Finding } from '../../lib/doctor/finding.ts'
import type { Result, Shell } from '../../lib/system/exec.ts'
import { shellOf } from './shell.ts'

/** A `$` that answers commands by their beginning. */
export function answering(answers: Record<string, Partial<Result>>): Shell {
  return shellOf(command => {
    const found = Object.entries(answers).find(([start]) => command.startsWith(start))
    assert.ok(found, `nobody expected: ${command}`)
    return found[1]
  })
}

/** A machine with just these programs. */
export const having =
  (...tools: string[]) =>
  async (name: string) =>
    tools.includes(name)

/** The one finding of a check that has no more. */
export const only = async ([finding, ...more]: Finding[]) => {
  assert.deepEqual(more, [])
  return finding!
}
