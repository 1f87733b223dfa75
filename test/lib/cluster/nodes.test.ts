import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { removeNodes } from '../../../lib/cluster/nodes.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import type { Result } from '../../../lib/system/exec.ts'
import { shellOf } from '../../helpers/shell.ts'

/** Gives these answers one after the other, and keeps the commands. */
function answersOf(...answers: Partial<Result>[]) {
  const commands: string[] = []
  const shell = shellOf(command => {
    commands.push(command)
    return answers[commands.length - 1]
  })
  return { commands, shell }
}

describe('the removal of nodes', () => {
  it('tries again where a node takes longer to end than the engine waits', async () => {
    const { commands, shell } = answersOf(
      { exitCode: 1, stderr: 'could not kill container: tried to kill container, but did not receive an exit event' },
      { exitCode: 1, stderr: 'removal of container macula-worker is already in progress' },
      { exitCode: 0 },
    )
    await removeNodes(['macula-control-plane', 'macula-worker'], shell, 1)
    assert.deepEqual(commands, Array(3).fill('docker rm --force --volumes macula-control-plane macula-worker'))
  })

  it("fails at once, in the engine's words, for anything else", async () => {
    const { commands, shell } = answersOf({ exitCode: 1, stderr: 'permission denied' })
    await assert.rejects(removeNodes(['one'], shell, 1), (error: PlatformError) => error.why === 'permission denied')
    assert.equal(commands.length, 1)
  })

  it('is finished where somebody else has removed them meanwhile', async () => {
    const { commands, shell } = answersOf({
      exitCode: 1,
      stderr: 'Error response from daemon: No such container: one\n',
    })
    await removeNodes(['one'], shell, 1)
    assert.equal(commands.length, 1)
  })
})
