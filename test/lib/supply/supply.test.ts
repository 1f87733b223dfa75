import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { laterImages } from '../../../lib/sandbox/engine-images.ts'
import { supplyReport } from '../../../lib/sandbox/report.ts'
import { PlaceholderInstead } from '../../../lib/sandbox/standins.ts'

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

  it('go on when one of them cannot be made, which is said with its reason', async () => {
    const made = deferred()
    const later = laterImages([
      ['loki', Promise.reject(new Error('no compiler'))],
      ['minio', made.promise],
    ])
    assert.deepEqual(later.pending(), ['loki', 'minio'])
    await later.next()
    assert.deepEqual(later.pending(), ['minio'])
    assert.deepEqual(later.names(), ['loki', 'minio'])
    assert.match(later.failures().get('loki')?.message ?? '', /no compiler/)
    made.resolve()
    await later.next()
    assert.deepEqual(later.names(), ['loki'])
    assert.deepEqual(later.pending(), [])
  })
})

describe('an image of which a program cannot be compiled', () => {
  it('counts as there once a placeholder is, and why is kept', async () => {
    const instead = new PlaceholderInstead(new Error('no module'))
    const later = laterImages([['minio', Promise.resolve(instead)]])
    await later.next()
    assert.deepEqual([later.names(), later.pending()], [[], []])
    assert.equal(later.failures().get('minio')?.message, 'no module')
  })
})

describe('what suppliers do', () => {
  const watched = () => {
    const said: string[] = []
    const tables: string[][] = []
    const progress = {
      update(text: string, rows: readonly string[] = []) {
        said.push(`… ${text}`)
        tables.push([...rows])
      },
      line: (text: string) => void said.push(text),
    }
    return { said, tables, progress }
  }

  it('is shown to the step that watches, with what happened before it did', async () => {
    const { report, during } = supplyReport(() => 0)
    const { said, progress } = watched()
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

  it('names what is worked on now, counts the rest, and says how long it will take on this machine', async () => {
    let now = 0
    const { report, during } = supplyReport(() => now)
    const { said, tables, progress } = watched()
    await during(progress, async () => {
      for (const [what, work] of Object.entries({ s3: 60, collector: 120, kubernetes: 240 }))
        report({ what, state: 'queued', detail: 'queued', work })
      report({ what: 's3', state: 'building', detail: 'linking s3' })
      report({ what: 'image postgres', state: 'building', detail: 'building' })
      report({ what: 'image postgres', state: 'ready', detail: 'stand-in', seconds: 0.5 })
      assert.equal(said.at(-1), '… 0 of 3 programs, about 7 min left; s3: linking s3')
      // twice as slow as where the seconds were measured
      now = 120_000
      report({ what: 's3', state: 'ready', detail: 'built', seconds: 120 })
      report({ what: 'collector', state: 'building', detail: 'compiling, 10 packages done' })
      assert.equal(said.at(-1), '… 1 of 3 programs, about 12 min left; collector: compiling, 10 packages done')
      now = 180_000
      report({ what: 'collector', state: 'building', detail: 'compiling, 400 packages done' })
      assert.equal(said.at(-1), '… 1 of 3 programs, about 11 min left; collector: compiling, 400 packages done')
      assert.deepEqual(tables.at(-1), ['collector   compiling, 400 packages done  60 s', 'kubernetes  queued'])
    })
  })

  it('forgets what could not be built', async () => {
    const { report, during } = supplyReport(() => 0)
    const { said, progress } = watched()
    await during(progress, async () => {
      report({ what: 's3', state: 'queued', detail: 'queued', work: 60 })
      report({ what: 's3', state: 'building', detail: 'compiling' })
      report({ what: 's3', state: 'failed', detail: 'failed' })
      assert.equal(said.at(-1), '… ')
    })
  })
})

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {}
  const promise = new Promise<void>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}
