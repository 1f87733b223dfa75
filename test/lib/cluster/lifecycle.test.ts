import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { untilNodesStart } from '../../../lib/cluster/lifecycle.ts'
import { PlatformError } from '../../../lib/system/errors.ts'

const slow = new PlatformError('kind create cluster failed', {
  why: 'ERROR: failed to create cluster: could not find a log line that matches "Reached target .*Multi-User System.*|detected cgroup v1"',
})

/** Runs it with a `kind create` that ends as listed, one after the other; returns how often it ran, and what was reported. */
const creation = (...endings: (Error | undefined)[]) => creationLeaving(true, ...endings)

/** The same, where each attempt that fails leaves nodes behind or not. */
async function creationLeaving(nothing: boolean, ...endings: (Error | undefined)[]) {
  const said: string[] = []
  let runs = 0
  const error = await untilNodesStart(
    async () => {
      const ending = endings[runs]
      runs += 1
      if (ending) throw ending
    },
    async () => nothing,
    text => said.push(text),
  ).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  return { runs, said, error }
}

describe('the creation of nodes', () => {
  it('is tried again where a node took longer to start than kind allows, and says so', async () => {
    const { runs, said, error } = await creation(slow, undefined)
    assert.deepEqual({ runs, error }, { runs: 2, error: undefined })
    assert.match(said.join('\n'), /more than 30 s/)
  })

  it('is given up after the third time, with the words of the last', async () => {
    const { runs, error } = await creation(slow, slow, slow)
    assert.deepEqual({ runs, error }, { runs: 3, error: slow })
  })

  it('is not tried again for any other reason', async () => {
    const other = new PlatformError('kind create cluster failed', { why: 'ERROR: node(s) already exist' })
    const { runs, error } = await creation(other)
    assert.deepEqual({ runs, error }, { runs: 1, error: other })
  })

  it('is not tried again where nodes are left: whose they are is for the next run to find out', async () => {
    const { runs, said, error } = await creationLeaving(false, slow, undefined)
    assert.deepEqual({ runs, said, error }, { runs: 1, said: [], error: slow })
  })
})
