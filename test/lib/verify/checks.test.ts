import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import type { Platform } from '../../../lib/platform/platform.ts'
import type { LookupAnswer } from '../../../lib/system/lookup.ts'
import { type Check, NotVerified, runChecks } from '../../../lib/verify/check.ts'
import { metrics, samples } from '../../../lib/verify/metrics.ts'
import { names, questionsOf } from '../../../lib/verify/names.ts'
import { images } from '../../../lib/verify/registry.ts'
import { urls, webServerCheck } from '../../../lib/verify/urls.ts'
import { contextOf } from '../../helpers/check-context.ts'
import { goodPlatform } from '../../helpers/platform.ts'

let platform: Platform
before(async () => {
  platform = await goodPlatform()
})
const context = (changes: Parameters<typeof contextOf>[1] = {}) => contextOf(platform, changes)

const limits = { checkMs: 200, downMs: 50, cleanUpMs: 100 }
const okOf = async (checks: Check[], run = context()) =>
  Object.fromEntries((await runChecks(checks, run, limits)).map(({ name, ok }) => [name, ok]))

/** What a check has that only asks over HTTP; the rest of it is not to be used. */
const tools = {
  signal: new AbortController().signal,
  until: async () => assert.fail('nothing to wait for'),
  addressOf: async () => '127.0.0.3',
  cleanUp: async () => assert.fail('nothing was made'),
}

describe('checks of names', () => {
  const run = async (lookups: Record<string, LookupAnswer>, ipv6 = 'ENODATA') => {
    const given = context({ lookups, ipv6 })
    const results = await runChecks(names(given), given, limits)
    return results.filter(({ ok }) => ok === false).map(({ name, detail }) => `${name}: ${detail}`)
  }

  it('cover every name, one that is not in the catalogue, and both kinds of address', async () => {
    const checks = names(context()).map(({ name }) => name)
    for (const { name } of platform.names) assert.ok(checks.includes(name), name)
    assert.ok(platform.names.length >= 15)
    assert.ok(checks.includes('*.macula.local'))
    const asked = questionsOf(platform, 'unique').map(({ name, family }) => `${family}:${name}`)
    assert.ok(asked.includes('6:grafana.macula.local'))
    assert.ok(asked.includes('4:unique.macula.local'))
  })

  it('say which address a name has and which it should have', async () => {
    assert.deepEqual(await run({ '4:grafana.macula.local': { addresses: ['127.0.0.5'] } }), [
      'grafana.macula.local: 127.0.0.5, should be 127.0.0.4',
    ])
    assert.deepEqual(await run({ '4:loki.macula.local': { addresses: ['127.0.0.5', '127.0.0.6'] } }), [
      'loki.macula.local: 127.0.0.5, 127.0.0.6, should be 127.0.0.5',
    ])
  })

  it('are red where only the wildcard is missing', async () => {
    assert.deepEqual(await run({ '4:unique.macula.local': { addresses: [], error: 'ENOTFOUND' } }), [
      '*.macula.local: no address, should be 127.0.0.2',
    ])
  })

  it('are red where a name has an IPv6 address', async () => {
    assert.deepEqual(await run({ '6:s3.macula.local': { addresses: ['::1'] } }), [
      'no IPv6 address in macula.local: s3.macula.local has the IPv6 address ::1',
    ])
  })

  it('are not green where no name server answers', async () => {
    const red = await run({ '6:s3.macula.local': { addresses: [], error: 'EAI_AGAIN' } })
    assert.deepEqual(red, ['no IPv6 address in macula.local: s3.macula.local: no name server answered'])
  })

  it("are red where the name server says 'no such name' in place of an empty answer", async () => {
    const [first] = platform.names
    assert.deepEqual(await run({}, 'ENOTFOUND'), [
      `no IPv6 address in macula.local: AAAA of ${first?.name} is answered with ENOTFOUND, should be empty`,
    ])
    assert.deepEqual(await run({}), [])
  })
})

describe('checks of URLs', () => {
  it('ask for every documented URL, with the port and without, and every other port', () => {
    const checks = urls(context()).map(({ name }) => name)
    for (const url of [
      'http://registry.macula.local',
      'http://registry.macula.local/v2/',
      'http://dns.macula.local',
      'http://dns-admin.macula.local',
      'http://home.macula.local',
      'http://prometheus.macula.local',
      'http://prometheus.macula.local:9090',
      'http://grafana.macula.local',
      'http://grafana.macula.local:3000',
      'http://loki.macula.local:3100',
      'http://tempo.macula.local:3200',
      'tempo.macula.local:4317',
      'http://tempo.macula.local:4318',
      'postgres.macula.local:5432',
      'http://s3.macula.local',
      'http://s3.macula.local:9000',
      'http://s3-console.macula.local',
      'http://s3-console.macula.local:9001',
    ])
      assert.ok(checks.includes(url), `${url} is not among ${checks.join(', ')}`)
    assert.equal(new Set(checks).size, checks.length, 'a name twice')
  })

  it("take the engine's word for a service that nothing outside leads to", async () => {
    const [check] = urls(context()).filter(({ service }) => service === 'powerdns-db')
    assert.equal(check?.name, 'macula-powerdns-db')
    const down = context({ containers: { 'powerdns-db': { health: 'unhealthy' } } })
    assert.deepEqual(
      await okOf(
        urls(down).filter(({ service }) => service === 'powerdns-db'),
        down,
      ),
      { 'macula-powerdns-db': false },
    )
  })

  it('need the web server where they go through it, as all HTTP does, and not where they go straight to a container', () => {
    const byName = new Map(urls(context()).map(check => [check.name, check]))
    const server = webServerCheck(platform)
    assert.equal(server, 'http://home.macula.local')
    assert.ok(byName.get('http://grafana.macula.local')?.needs?.includes(server))
    assert.ok(byName.get('http://grafana.macula.local:3000')?.needs?.includes(server))
    assert.ok(byName.get('http://tempo.macula.local:4318')?.needs?.includes(server))
    assert.ok(!byName.get('postgres.macula.local:5432')?.needs?.includes(server))
    assert.deepEqual(images(context())[0]?.needs, [server])
  })
})

describe('checks of metrics', () => {
  const target = (job: string, changes: object = {}) => ({
    labels: { job },
    health: 'up',
    lastError: '',
    lastScrape: '2026-11-23T11:00:00Z',
    ...changes,
  })
  /** What the check of one service comes to where Prometheus knows these targets and values of `up`. */
  const run = async (service: string, targets: object[], up: Record<string, string>, given = context()) => {
    const [check] = metrics(given).filter(each => each.service === service)
    assert.ok(check)
    return check.run({
      ...tools,
      http: async url => {
        const data = url.includes('/query?')
          ? { result: Object.entries(up).map(([job, value]) => ({ metric: { job }, value: [0, value] })) }
          : { activeTargets: targets }
        return { status: 200, headers: {}, body: JSON.stringify({ data }) }
      },
    })
  }

  it('are there for every service that has metrics, and are that service’s own trouble', () => {
    const found = metrics(context())
    const expected = platform.services.filter(({ metrics }) => metrics !== undefined).map(({ name }) => name)
    assert.deepEqual(
      found.map(({ service }) => service),
      expected,
    )
    assert.ok(expected.length > 4)
  })

  it('are right where `up` is 1', async () => {
    assert.equal(await run('loki', [target('loki')], { loki: '1' }), 'up')
  })

  it('do not believe a scrape from before the service ended', async () => {
    const down = context({ containers: { loki: { state: 'exited' } } })
    await assert.rejects(run('loki', [target('loki')], { loki: '1' }, down), /nothing to scrape/)
  })

  it('say why a target is down', async () => {
    const down = target('loki', { health: 'down', lastError: 'connection refused' })
    await assert.rejects(run('loki', [down], { loki: '0' }), /up is 0: connection refused/)
  })

  it('cannot tell of a target that was last looked at before its container started', async () => {
    const down = target('loki', { health: 'down', lastError: 'refused', lastScrape: '2026-11-23T09:59:59Z' })
    await assert.rejects(run('loki', [down], { loki: '0' }), NotVerified)
  })

  it('cannot tell of a target whose program was still starting when it was last looked at', async () => {
    const lookedAt = (lastScrape: string) => [target('loki', { health: 'down', lastError: 'refused', lastScrape })]
    await assert.rejects(run('loki', lookedAt('2026-11-23T10:00:05Z'), { loki: '0' }), NotVerified)
    await assert.rejects(run('loki', lookedAt('2026-11-23T10:00:16Z'), { loki: '0' }), /up is 0: refused/)
  })

  it('are wrong for a service that Prometheus does not scrape', async () => {
    await assert.rejects(run('loki', [target('minio')], { minio: '1' }), /does not scrape it/)
  })
})

describe('the check of stored samples', () => {
  const run = async (age: string | undefined, startedAt = new Date('2026-11-23T10:00:00Z')) => {
    const [check] = samples(context({ containers: { prometheus: { startedAt } } }))
    assert.ok(check)
    return check.run({
      ...tools,
      http: async () => {
        const result = age === undefined ? [] : [{ value: [0, age] }]
        return { status: 200, headers: {}, body: JSON.stringify({ data: { result } }) }
      },
    })
  }

  it('is wrong where Prometheus answers with old ones only, as it does when it cannot write', async () => {
    assert.equal(await run('3.2'), 'the newest is 3 s old')
    await assert.rejects(run('60'), /^PlatformError: the newest is 60 s old$/)
    await assert.rejects(run(undefined), /^PlatformError: there is none$/)
  })

  it('cannot tell where Prometheus has just started', async () => {
    await assert.rejects(run('600', new Date()), NotVerified)
    await assert.rejects(run(undefined, new Date()), NotVerified)
  })
})
