import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { staleEndpoints, unsettled } from '../../../lib/cluster/endpoints.ts'
import type { KubeObject } from '../../../lib/cluster/kubectl.ts'
import { troubleOf, unfinishedRollouts } from '../../../lib/cluster/rollout.ts'

const deployment = (status: object, generation = 2): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'console', generation },
  spec: { replicas: 1 },
  status,
})

const pod = (state: object, lastState = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'console-1' },
  spec: { containers: [{ name: 'application', image: 'localhost:5001/macula/console@sha256:1' }] },
  status: { containerStatuses: [{ name: 'application', image: '', restartCount: 3, state, lastState }] },
})

describe('a roll-out', () => {
  const done = { observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1 }

  it('is finished when nothing but available new pods is left', () => {
    assert.deepEqual(unfinishedRollouts([deployment(done)]), [])
  })

  it('is not finished before its newest version has been seen, or while an old pod is there, or a new one is not available', () => {
    for (const change of [{ observedGeneration: 1 }, { replicas: 2 }, { updatedReplicas: 0 }, { availableReplicas: 0 }])
      assert.deepEqual(unfinishedRollouts([deployment({ ...done, ...change })]), ['console'], JSON.stringify(change))
    assert.deepEqual(unfinishedRollouts([deployment({})]), ['console'])
  })
})

describe('a roll-out to every node', () => {
  const daemonSet = (status: object): KubeObject => ({ ...deployment(status), kind: 'DaemonSet' })
  const done = { observedGeneration: 2, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2 }

  it('is finished when each node has an available pod of the newest version', () => {
    assert.deepEqual(unfinishedRollouts([daemonSet(done)]), [])
  })

  it('is not finished before its newest version has been seen, or on a node that has none yet', () => {
    for (const change of [{ observedGeneration: 1 }, { updatedNumberScheduled: 1 }, { numberAvailable: 1 }])
      assert.deepEqual(unfinishedRollouts([daemonSet({ ...done, ...change })]), ['console'], JSON.stringify(change))
    assert.deepEqual(unfinishedRollouts([daemonSet({})]), ['console'])
  })
})

describe('the trouble of a pod', () => {
  it('names image and registry where the image cannot be pulled', () => {
    const trouble = troubleOf(pod({ waiting: { reason: 'ImagePullBackOff', message: 'not found' } }))
    assert.match(
      trouble ?? '',
      /ImagePullBackOff: localhost:5001\/macula\/console@sha256:1 from registry localhost:5001/,
    )
    assert.match(trouble ?? '', /not found/)
  })

  it('tells the exit code of a program that keeps ending', () => {
    const trouble = troubleOf(pod({ waiting: { reason: 'CrashLoopBackOff' } }, { terminated: { exitCode: 3 } }))
    assert.match(trouble ?? '', /exit code 3, 3 restarts/)
  })

  it('is not to be had while there is hope', () => {
    for (const state of [
      { running: {} },
      { waiting: { reason: 'ContainerCreating' } },
      { waiting: { reason: 'ErrImagePull' } },
    ])
      assert.equal(troubleOf(pod(state)), undefined)
  })
})

describe('endpoints after a start', () => {
  const slice = (address: string, name: string): KubeObject => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-slice`, namespace: 'macula' },
    endpoints: [{ addresses: [address], targetRef: { kind: 'Pod', name, namespace: 'macula' } }],
  })
  const running = (name: string, podIP: string): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'macula' },
    status: { podIP },
  })

  it('are stale where the pod has another address, or is gone', () => {
    assert.deepEqual(staleEndpoints([slice('10.244.0.3', 'peer1'), running('peer1', '10.244.0.7')]), [
      'macula/peer1: 10.244.0.3, the pod has 10.244.0.7',
    ])
    assert.deepEqual(staleEndpoints([slice('10.244.0.3', 'peer1')]), ['macula/peer1: 10.244.0.3, the pod has none'])
  })

  it('are right where they are the same, and those outside the cluster have no pod to be compared with', () => {
    const outside = { ...slice('172.23.0.30', 's3'), endpoints: [{ addresses: ['172.23.0.30'] }] }
    assert.deepEqual(staleEndpoints([slice('10.244.0.3', 'peer1'), running('peer1', '10.244.0.3'), outside]), [])
  })
})

describe('a cluster after its start', () => {
  const started = new Date('2026-01-01T10:00:00Z')
  const node = (ready: string): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'worker' },
    status: { conditions: [{ type: 'Ready', status: ready }] },
  })
  const lease = (acquireTime: string): KubeObject => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'kube-controller-manager', namespace: 'kube-system' },
    spec: { acquireTime },
  })
  const after = lease('2026-01-01T10:00:05.000000Z')

  it('is settled when its nodes are ready and its controllers are those of this start', () => {
    assert.equal(unsettled([node('True'), after], started), undefined)
  })

  it('is not settled while a node is not ready, or the controllers of the start before have not been replaced', () => {
    assert.equal(unsettled([node('True'), node('Unknown'), after], started), 'not ready: worker')
    for (const objects of [[node('True')], [node('True'), lease('2026-01-01T09:00:00.000000Z')]])
      assert.match(unsettled(objects, started) ?? '', /controllers have not taken over/)
  })
})
