import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { laterImages } from '../../../lib/sandbox/engine-images.ts'
import { supplyReport } from '../../../lib/sandbox/report.ts'

describe('images that come later', () => {
  it('are waited for one after the other, as they get ready', async () => {
    const finish = new Map<string, () => void>()
    const making = (name: string) => new Promise<void>(resolve => void finish.set(name, resolve))
    const later = laterImages(['loki', 'minio'].map(name => [name, making(name)] as const))
    assert.deepEqual(later.names(), ['loki', 'minio'])
    finish.get('minio')?.()
    await later.next()
    assert.deepEqual(later.names(), ['loki'])
    finish.get('loki')?.()
    await later.next()
    assert.deepEqual(later.names(), [])
    await later.next()
  })

  it('end whoever waits for the next one when one of them cannot be made', async () => {
    const later = laterImages([
      ['loki', Promise.reject(new Error('no compiler'))],
      ['minio', new Promise(() => {})],
    ])
    await assert.rejects(later.next(), /no compiler/)
    assert.deepEqual(later.names(), ['loki', 'minio'])
  })
})

describe('what suppliers do', () => {
  it('is shown to the step that watches, with what happened before it did', async () => {
    const { report, during } = supplyReport()
    const said: string[] = []
    const progress = {
      update: (text: string) => void said.push(`… ${text}`),
      line: (text: string) => void said.push(text),
    }
    report({ what: 'registry', state: 'ready', detail: 'built', seconds: 60 })
    report({ what: 'loki', state: 'building', detail: 'compiling loki' })
    await during(progress, async () => report({ what: 'minio', state: 'building', detail: 'compiling minio' }))
    report({ what: 'loki', state: 'ready', detail: 'built', seconds: 90 })
    assert.deepEqual(said, [
      'registry: built, 60.0 s',
      '… loki: compiling loki',
      '… loki: compiling loki; minio: compiling minio',
    ])
    await during(progress, async () => {})
    assert.deepEqual(said.slice(3), ['loki: built, 90.0 s', '… minio: compiling minio'])
  })
})
