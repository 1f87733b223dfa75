import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { removeNodes } from '../../../lib/cluster/nodes.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import type { Result } from '../../../lib/system/exec.ts'

/** Gives these answers one after the other, and keeps what was asked. */
function answersOf(...answers: Partial<Result>[]) {
  const asked: string[] = []
  const asker = async (command: readonly string[]): Promise<Result> => {
    asked.push(command.join(' '))
    return { exitCode: 0, stdout: '', stderr: '', ...answers[asked.length - 1] }
  }
  return { asked, asker }
}

describe('the removal of nodes', () => {
  it('asks again for one that takes longer to end than the engine waits', async () => {
    const { asked, asker } = answersOf(
      { exitCode: 1, stderr: 'could not kill container: tried to kill container, but did not receive an exit event' },
      { exitCode: 1, stderr: 'removal of container macula-worker is already in progress' },
      { exitCode: 0 },
    )
    await removeNodes(['macula-control-plane', 'macula-worker'], asker, 1)
    assert.deepEqual(asked, Array(3).fill('docker rm --force --volumes macula-control-plane macula-worker'))
  })

  it("fails at once, in the engine's words, for anything else", async () => {
    const { asked, asker } = answersOf({ exitCode: 1, stderr: 'permission denied' })
    await assert.rejects(removeNodes(['one'], asker, 1), (error: PlatformError) => error.why === 'permission denied')
    assert.equal(asked.length, 1)
  })
})
