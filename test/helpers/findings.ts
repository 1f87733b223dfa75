import assert from 'node:assert/strict'
import type { Finding } from '../../lib/doctor/finding.ts'
import type { Result, Runner } from '../../lib/system/exec.ts'

/** Answers commands by their beginning. */
export function answering(answers: Record<string, Partial<Result>>): Runner {
  return async command => {
    const found = Object.entries(answers).find(([start]) => command.join(' ').startsWith(start))
    assert.ok(found, `nobody expected: ${command.join(' ')}`)
    return { exitCode: 0, stdout: '', stderr: '', ...found[1] }
  }
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
