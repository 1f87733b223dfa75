import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import type { Platform } from '../../../lib/platform/platform.ts'
import { NotVerified, type Tools } from '../../../lib/verify/check.ts'
import { clusterCollectorChecks } from '../../../lib/verify/cluster-collector.ts'
import { goodPlatform } from '../../helpers/platform.ts'

let platform: Platform
before(async () => {
  platform = await goodPlatform()
})

const longAgo = new Date('2026-11-01T00:00:00Z')
const vector = (count: number) => ({ data: { result: count === 0 ? [] : [{ value: [0, String(count)] }] } })
const streams = (count: number) => ({
  data: { result: count === 0 ? [] : [{ values: Array(count).fill(['1', 'a']) }] },
})

/** Runs the check of this name; `answer` is what the stores answer a query with. */
async function run(name: string, answer: (query: string) => object, since = longAgo): Promise<string> {
  const check = clusterCollectorChecks(platform, since).find(check => check.name === name)
  assert.ok(check, name)
  const http = async (url: string) => ({
    status: 200,
    headers: {},
    body: JSON.stringify(answer(new URL(url).searchParams.get('query') ?? '')),
  })
  return check.run({ http } as unknown as Tools)
}

describe('the checks of what the collectors in the cluster send', () => {
  it('are right where it is there, each by a query of its own', async () => {
    const queries: string[] = []
    const seen = (answer: object) => (query: string) => {
      queries.push(query)
      return answer
    }
    for (const name of ['metrics of pods', 'metrics of containers', 'restarts of containers'])
      assert.equal(await run(`${name} in Prometheus`, seen(vector(4))), '4 found')
    for (const name of ['lines of pods in Loki', 'events of the cluster in Loki'])
      assert.equal(await run(name, seen(streams(2))), '2 found')
    assert.equal(new Set(queries).size, 5)
  })

  it('are wrong where it is not, unless that is too early to say', async () => {
    const none = () => vector(0)
    await assert.rejects(run('metrics of pods in Prometheus', none), /No metrics of pods: /)
    await assert.rejects(
      run('lines of pods in Loki', () => streams(0)),
      /No lines of pods: /,
    )
    await assert.rejects(run('metrics of pods in Prometheus', none, new Date()), NotVerified)
  })

  it('cannot tell a quiet cluster from one whose events are lost', async () => {
    await assert.rejects(
      run('events of the cluster in Loki', () => streams(0)),
      NotVerified,
    )
  })

  it('ask no placeholder of Loki', () => {
    const ofLoki = clusterCollectorChecks(platform, longAgo).filter(({ service }) => service === 'loki')
    assert.deepEqual(
      ofLoki.map(({ realOnly }) => realOnly),
      [true, true],
    )
  })

  it('are none where the cluster is not ours', async () => {
    const settings = { CLUSTER: 'existing', CLUSTER_CONTEXT: 'work', REGISTRY: 'registry.example.com/macula' }
    assert.deepEqual(clusterCollectorChecks(await goodPlatform({ settings }), longAgo), [])
  })
})
