import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { memory, queue } from '../../../lib/supply/queue.ts'

describe('a queue', () => {
  it('begins with the lowest place of those that come together, whichever came first', async () => {
    const one = queue(1)
    const begun: string[] = []
    const action = (name: string, place: number) =>
      one(async () => {
        begun.push(name)
      }, place)
    await Promise.all([action('third', 2), action('first', 0), action('fourth', 2), action('second', 1)])
    assert.deepEqual(begun, ['first', 'second', 'third', 'fourth'])
  })

  it('never runs more than it may, runs as many as it may, and goes on after one that failed', async () => {
    const two = queue(2)
    let [running, most] = [0, 0]
    const action = async (number: number) => {
      running += 1
      most = Math.max(most, running)
      await pause(5)
      running -= 1
      if (number % 3 === 0) throw new Error(String(number))
      return number
    }
    const results = await Promise.allSettled(Array.from({ length: 9 }, (_, number) => two(() => action(number))))
    assert.equal(most, 2)
    assert.deepEqual(
      results.flatMap(result => (result.status === 'fulfilled' ? [result.value] : [])),
      [1, 2, 4, 5, 7, 8],
    )
  })
})

describe('a memory', () => {
  it('does once what is asked for twice, and gives both the same', async () => {
    const once = memory()
    let made = 0
    const make = async () => ++made
    assert.deepEqual(await Promise.all([once('a', make), once('a', make), once('b', make)]), [1, 1, 2])
  })
})
