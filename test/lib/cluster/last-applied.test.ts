import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeObject } from '../../../lib/cluster/kubectl.ts'
import { isAsMarked, marked } from '../../../lib/cluster/last-applied.ts'

const service: KubeObject = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'console', namespace: 'macula', labels: { app: 'console' } },
  spec: { selector: { app: 'console' }, ports: [{ port: 80, targetPort: 'http' }] },
}

/** The object as the server would show it, with fields of its own. */
function inCluster(object: KubeObject, change: (object: KubeObject) => void = () => {}): KubeObject {
  const live = structuredClone(marked(object)) as KubeObject & { spec: { ports: object[] } }
  Object.assign(live.metadata, { uid: '1', resourceVersion: '7' })
  live.spec.ports = live.spec.ports.map(port => ({ ...port, protocol: 'TCP' }))
  change(live)
  return live
}

describe('an object that was applied', () => {
  it('is known again, whatever the server has added to it', () => {
    assert.equal(isAsMarked(marked(service), [inCluster(service)]), true)
  })

  it('is another once anything is added to it, changed or taken out of it', () => {
    const without = structuredClone(service)
    delete without.metadata.labels
    for (const other of [without, { ...service, spec: { ports: [] } }, { ...service, immutable: true }])
      assert.equal(isAsMarked(marked(other), [inCluster(service)]), false, JSON.stringify(other))
  })

  it('is another once somebody has changed it in the cluster, or removed it', () => {
    const changed = inCluster(service, live => {
      live.spec = { ...(live.spec as object), selector: { app: 'other' } }
    })
    assert.equal(isAsMarked(marked(service), [changed]), false)
    const added = inCluster(service, live => {
      const { ports } = live.spec as { ports: object[] }
      ports.push({ port: 81 })
    })
    assert.equal(isAsMarked(marked(service), [added]), false)
    assert.equal(isAsMarked(marked(service), []), false)
  })
})
