import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { dashboards as made } from '../../../dashboards/all.ts'
import type { Platform } from '../../../lib/platform/platform.ts'
import { writeIfChanged } from '../../../lib/platform/render.ts'
import type { HttpRequest } from '../../../lib/system/http.ts'
import { type CheckGroup, type Tools, untilWithin } from '../../../lib/verify/check.ts'
import { dashboards } from '../../../lib/verify/dashboards.ts'
import { traces } from '../../../lib/verify/traces.ts'
import { renderExample } from '../../helpers/example.ts'
import { goodPlatform } from '../../helpers/platform.ts'

let platform: Platform
before(async () => {
  platform = await goodPlatform({ settings: { GRAFANA_PASSWORD: 'right' } })
})

type Answers = (url: URL, question: HttpRequest) => { status: number; body?: string }

/** Runs the check of a group whose name matches, with a server that answers as it is told. */
async function run(group: CheckGroup, name: RegExp, answers: Answers, limitMs = 1000): Promise<string> {
  const checks = group({
    platform,
    unique: 'unique',
    containers: new Map(),
    lookups: async () => ({ addresses: [] }),
    ipv6Answer: async () => undefined,
  })
  const check = checks.find(check => name.test(check.name))
  assert.ok(check)
  const http: Tools['http'] = async (url, question = {}) => ({
    headers: {},
    body: '',
    ...answers(new URL(url), question),
  })
  const signal = AbortSignal.timeout(limitMs)
  return check.run({
    signal,
    until: untilWithin(limitMs, signal),
    http,
    cleanUp: http,
    addressOf: async () => '127.0.0.1',
  })
}

const userOf = ({ headers }: HttpRequest) =>
  Buffer.from(headers?.authorization?.replace('Basic ', '') ?? '', 'base64').toString()

describe('Grafana', () => {
  const login: Answers = (_, question) => ({ status: userOf(question) === 'admin:right' ? 200 : 401 })

  it('is right where the password logs in and another does not', async () => {
    assert.match(await run(dashboards, /GRAFANA_PASSWORD/, login), /a wrong one does not/)
  })

  it('is wrong where the password of the settings does not log in', async () => {
    await assert.rejects(
      run(dashboards, /GRAFANA_PASSWORD/, () => ({ status: 401 })),
      /as admin answered 401/,
    )
  })

  it('is wrong where any password logs in', async () => {
    await assert.rejects(
      run(dashboards, /GRAFANA_PASSWORD/, () => ({ status: 200 })),
      /with a wrong password answered 200/,
    )
  })

  it('never tries a wrong password as admin, which would lock the user out', async () => {
    const users: string[] = []
    await run(dashboards, /GRAFANA_PASSWORD/, (url, question) => {
      users.push(userOf(question))
      return login(url, question)
    })
    assert.deepEqual(
      users.filter(user => user.startsWith('admin:')),
      ['admin:right'],
    )
  })

  const sources =
    (health: Record<string, number>): Answers =>
    ({ pathname }) => {
      const uid = /\/uid\/(\w+)\/health$/.exec(pathname)?.[1]
      return uid === undefined
        ? { status: 200, body: JSON.stringify(Object.keys(health).map(uid => ({ uid, name: `name of ${uid}` }))) }
        : { status: health[uid] ?? 404, body: 'cannot connect' }
    }

  it('is right where every data source is healthy', async () => {
    const seen = await run(dashboards, /data sources/, sources({ loki: 200, tempo: 200 }))
    assert.equal(seen, 'name of loki, name of tempo')
  })

  it('names the data source that is not', async () => {
    await assert.rejects(
      run(dashboards, /data sources/, sources({ loki: 200, tempo: 400 })),
      /name of tempo answered 400: cannot connect/,
    )
  })

  it('is wrong without a data source', async () => {
    await assert.rejects(run(dashboards, /data sources/, sources({})), /Grafana has no data source/)
  })

  describe('with dashboards', () => {
    let stateDir: string
    before(async () => {
      stateDir = await mkdtemp(join(tmpdir(), 'macula-grafana-'))
      for (const file of await renderExample()) await writeIfChanged(join(stateDir, file.path), file.content)
      platform = { ...platform, paths: { ...platform.paths, stateDir } }
    })
    after(() => rm(stateDir, { recursive: true }))

    const listing =
      (titles: readonly string[]): Answers =>
      ({ pathname }) => {
        assert.equal(pathname, '/api/search')
        return { status: 200, body: JSON.stringify(titles.map(title => ({ title }))) }
      }

    it('is right where it lists each that it was given', async () => {
      const seen = await run(dashboards, /every dashboard/, listing(['Mine', ...made.map(({ title }) => title)]))
      assert.match(seen, /Applications, Cluster, DNS/)
    })

    it('is wrong where it has not loaded one, and names that', async () => {
      const others = made.map(({ title }) => title).filter(title => title !== 'Cluster')
      await assert.rejects(run(dashboards, /every dashboard/, listing(others)), /has not loaded Cluster$/)
    })
  })
})

describe('Tempo', () => {
  it('is right as soon as the trace that was sent is found by its id', async () => {
    let sent = ''
    let looked = 0
    const seen = await run(traces, /trace/, ({ port, pathname }, { body }) => {
      if (pathname === '/v1/traces') {
        assert.equal(port, '4318')
        sent = JSON.parse(String(body)).resourceSpans[0].scopeSpans[0].spans[0].traceId
        return { status: 200 }
      }
      looked += 1
      assert.equal(pathname, `/api/v2/traces/${sent}`)
      return looked < 3 ? { status: 404 } : { status: 200, body: '{"name":"verify unique"}' }
    })
    assert.match(sent, /^[0-9a-f]{32}$/)
    assert.match(seen, /looked up by its id/)
  })

  it('is wrong where the trace is never found', async () => {
    const answers: Answers = ({ pathname }) => ({ status: pathname === '/v1/traces' ? 200 : 404 })
    await assert.rejects(run(traces, /trace/, answers, 300), /is not found/)
  })

  it('is wrong where the trace is not taken', async () => {
    await assert.rejects(
      run(traces, /trace/, () => ({ status: 503, body: '<h1>no room</h1>' })),
      /Sending the trace answered 503: no room/,
    )
  })
})
