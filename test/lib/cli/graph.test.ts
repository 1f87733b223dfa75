import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { criticalPath, runGraph, type Waiting } from '../../../lib/cli/graph.ts'
import { graphOf, readTaskfile } from '../../../lib/cli/taskfile.ts'

const steps = graphOf(await readTaskfile(), 'setup')

/** All that waits for a step, over however many others. */
function behind(name: string, all: readonly Waiting[]): string[] {
  const direct = all.filter(({ after }) => after.includes(name)).map(step => step.name)
  return [...new Set(direct.flatMap(other => [other, ...behind(other, all)]))]
}

describe('a graph', () => {
  it('runs each step once, after all that it waits for', async () => {
    const done: string[] = []
    const states = await runGraph(steps, async name => {
      const { after } = steps.find(step => step.name === name)!
      assert.deepEqual(
        after.filter(other => !done.includes(other)),
        [],
        name,
      )
      await new Promise(resolve => setImmediate(resolve))
      done.push(name)
      return true
    })
    assert.deepEqual(done.toSorted(), steps.map(({ name }) => name).toSorted())
    assert.deepEqual(new Set(states.values()), new Set(['done']))
  })

  for (const { name: broken } of steps)
    it(`where ${broken} fails runs all that does not wait for it, and nothing that does`, async () => {
      const ran: string[] = []
      const states = await runGraph(steps, async name => {
        ran.push(name)
        await new Promise(resolve => setImmediate(resolve))
        return name !== broken
      })
      const left = behind(broken, steps)
      assert.deepEqual(
        steps.map(({ name }) => [name, states.get(name)]),
        steps.map(({ name }) => [name, name === broken ? 'failed' : left.includes(name) ? 'not begun' : 'done']),
      )
      assert.deepEqual(
        ran.filter(name => left.includes(name)),
        [],
      )
    })

  it('lets the steps finish that run beside a failed one', async () => {
    let finish = () => {}
    let isFinished = false
    const slow = new Promise<void>(resolve => {
      finish = resolve
    }).then(() => {
      isFinished = true
      return true
    })
    const running = runGraph(
      ['slow', 'broken'].map(name => ({ name, after: [] })),
      async name => (name === 'slow' ? slow : false),
    )
    setImmediate(finish)
    const states = await running
    assert.ok(isFinished)
    assert.deepEqual(
      [...states],
      [
        ['slow', 'done'],
        ['broken', 'failed'],
      ],
    )
  })

  it('begins nothing more after its signal', async () => {
    const controller = new AbortController()
    const states = await runGraph(
      [
        { name: 'one', after: [] },
        { name: 'two', after: ['one'] },
      ],
      async () => {
        controller.abort()
        return true
      },
      { signal: controller.signal },
    )
    assert.deepEqual(
      [...states],
      [
        ['one', 'done'],
        ['two', 'not begun'],
      ],
    )
  })

  it('has no more steps at once than it may', async () => {
    let most = 0
    let now = 0
    await runGraph(
      steps,
      async () => {
        now += 1
        most = Math.max(most, now)
        await new Promise(resolve => setImmediate(resolve))
        now -= 1
        return true
      },
      { limit: 1 },
    )
    assert.equal(most, 1)
  })
})

describe('the critical path', () => {
  it('goes back from the last step over the one that each waited for longest', () => {
    const timed = [
      { name: 'a', after: [], start: 0, end: 1 },
      { name: 'quick', after: ['a'], start: 1, end: 2 },
      { name: 'slow', after: ['a'], start: 1, end: 9 },
      { name: 'both', after: ['quick', 'slow'], start: 9, end: 10 },
      { name: 'beside', after: [], start: 0, end: 9.5 },
    ]
    assert.deepEqual(criticalPath(timed), ['a', 'slow', 'both'])
    assert.deepEqual(criticalPath([]), [])
  })
})
