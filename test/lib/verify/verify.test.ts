import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import type { Platform } from '../../../lib/platform/platform.ts'
import { type Check, NotVerified, runChecks, thenCleanUp } from '../../../lib/verify/check.ts'
import { contextOf } from '../../helpers/check-context.ts'
import { goodPlatform } from '../../helpers/platform.ts'

let platform: Platform
before(async () => {
  platform = await goodPlatform()
})
const context = (changes: Parameters<typeof contextOf>[1] = {}) => contextOf(platform, changes)

const limits = { checkMs: 200, downMs: 50, cleanUpMs: 100 }
const right = (name: string, service: string, more: Partial<Check> = {}): Check => ({
  name,
  service,
  run: async () => 'fine',
  ...more,
})
const wrong = (name: string, service: string, more: Partial<Check> = {}): Check => ({
  ...right(name, service, more),
  run: async () => {
    throw new Error('seen something else')
  },
})
const okOf = async (checks: Check[], run = context()) =>
  Object.fromEntries((await runChecks(checks, run, limits)).map(({ name, ok }) => [name, ok]))

describe('the result of a check', () => {
  it('is red with what was seen, what the engine says, and the command that looks closer', async () => {
    const [result] = await runChecks(
      [wrong('a', 'loki')],
      context({ containers: { loki: { state: 'restarting', exitCode: 137 } } }),
      limits,
    )
    assert.equal(result?.ok, false)
    assert.equal(result?.detail, 'seen something else; macula-loki is restarting (137)')
    assert.equal(result?.hint, 'task logs -- loki')
  })

  it('names the start as the next step where the container was stopped', async () => {
    const stopped = context({ containers: { loki: { state: 'exited', exitCode: 0 } } })
    const [result] = await runChecks([wrong('a', 'loki')], stopped, limits)
    assert.equal(result?.hint, 'task start-infrastructure')
  })

  it('names the start as the next step where there is no container', async () => {
    const run = context()
    const without = { ...run, containers: new Map([...run.containers].filter(([name]) => name !== 'loki')) }
    const [result] = await runChecks([wrong('a', 'loki')], without, limits)
    assert.equal(result?.detail, 'seen something else; macula-loki is not created')
    assert.equal(result?.hint, 'task start-infrastructure')
  })

  it('names the routes as the next step where the container is well and nobody listens', async () => {
    const unrouted = (service: string) =>
      right(service, service, {
        run: async () => {
          throw Object.assign(new Error('nobody listens on 127.0.0.5:3100'), { code: 'ECONNREFUSED' })
        },
      })
    const results = await runChecks([unrouted('loki'), unrouted('minio'), unrouted('registry')], context(), limits)
    assert.deepEqual(
      results.map(({ hint }) => hint),
      ['task setup-observability-routing', 'task setup-data-routing', 'task logs -- registry'],
    )
  })

  it('is never green for a placeholder, and red where not even that answers', async () => {
    let asked = false
    const real = right('real', 'tempo', {
      realOnly: true,
      run: async () => {
        asked = true
        return ''
      },
    })
    const checks = [right('answers', 'tempo'), wrong('is silent', 'tempo'), real]
    const results = await okOf(checks, context({ containers: { tempo: { standIn: 'placeholder' } } }))
    assert.deepEqual(results, { answers: null, 'is silent': false, real: null })
    assert.equal(asked, false)
  })

  it('is green for a stand-in that runs the real program', async () => {
    assert.deepEqual(await okOf([right('a', 'loki')], context({ containers: { loki: { standIn: 'real' } } })), {
      a: true,
    })
  })

  it('is neither where the check itself cannot tell', async () => {
    const unsure = right('a', 'loki', {
      run: async () => {
        throw new NotVerified('too early')
      },
    })
    assert.deepEqual(await okOf([unsure]), { a: null })
  })

  it('is red when its time is over', async () => {
    const slow = right('a', 'loki', {
      run: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    })
    const [result] = await runChecks([slow], context(), limits)
    assert.equal(result?.ok, false)
    assert.equal(result?.detail, 'no answer within 0.2 s')
  })

  it('does not wait long for a service that does not run', async () => {
    const slow = right('a', 'loki', {
      run: ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    })
    const [result] = await runChecks([slow], context({ containers: { loki: { state: 'exited' } } }), limits)
    assert.equal(result?.detail, 'no answer within 0.05 s; macula-loki is exited (0)')
  })
})

describe('whose trouble a failure is', () => {
  it('is the one it needs, through any number of others', async () => {
    const checks = [
      wrong('name', 'dnsmasq'),
      wrong('page', 'nginx', { needs: ['name'] }),
      wrong('log line', 'loki', { needs: ['page'] }),
      wrong('row', 'timescaledb'),
    ]
    const results = await runChecks(checks, context(), limits)
    assert.deepEqual(
      results.map(({ name, ok }) => [name, ok]),
      [
        ['name', false],
        ['page', null],
        ['log line', null],
        ['row', false],
      ],
    )
    assert.equal(results[2]?.detail, 'not verified because of name: seen something else')
  })

  it('stays with it where all it needs is right', async () => {
    assert.deepEqual(await okOf([right('page', 'nginx'), wrong('log line', 'loki', { needs: ['page'] })]), {
      page: true,
      'log line': false,
    })
  })

  it('stays with a service for all of its own checks', async () => {
    assert.deepEqual(await okOf([wrong('page', 'loki'), wrong('log line', 'loki', { needs: ['page'] })]), {
      page: false,
      'log line': false,
    })
  })

  it('goes to the database that a service depends on, as long as that one is red itself', async () => {
    const down = context({ containers: { 'powerdns-db': { state: 'exited', exitCode: 1 } } })
    assert.deepEqual(await okOf([wrong('db', 'powerdns-db'), wrong('zone', 'powerdns')], down), {
      db: false,
      zone: null,
    })
    assert.deepEqual(await okOf([right('db', 'powerdns-db'), wrong('zone', 'powerdns')], down), {
      db: true,
      zone: false,
    })
  })

  it('stays with a service that does not run, whatever it needs', async () => {
    const down = context({ containers: { loki: { state: 'exited', exitCode: 1 } } })
    assert.deepEqual(await okOf([wrong('page', 'nginx'), wrong('log line', 'loki', { needs: ['page'] })], down), {
      page: false,
      'log line': false,
    })
  })

  it('leaves what succeeds alone, whatever it needs', async () => {
    assert.deepEqual(await okOf([wrong('name', 'dnsmasq'), right('page', 'nginx', { needs: ['name'] })]), {
      name: false,
      page: true,
    })
  })
})

describe('taking away what a check made', () => {
  it('happens after a failure too, which stays the one that is told', async () => {
    let removed = false
    const action = thenCleanUp(
      async () => {
        throw new Error('first')
      },
      async () => {
        removed = true
        throw new Error('second')
      },
    )
    await assert.rejects(action, /first/)
    assert.equal(removed, true)
  })

  it('is a failure of the check where it does not succeed', async () => {
    const action = thenCleanUp(
      async () => 'done',
      async () => {
        throw new Error('still there')
      },
    )
    await assert.rejects(action, /still there/)
  })
})
