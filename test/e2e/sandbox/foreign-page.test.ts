import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { PlatformError } from '../../../lib/system/errors.ts'
import { NotYet, waitFor } from '../../../lib/system/wait.ts'
import { skipBrowser } from '../../helpers/foreign-page.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

const skip = (await noSandbox()) || skipBrowser

interface Target {
  service: string
  address: string
  listen: string
}
interface Result {
  service: string
  address: string
  foreign: string[]
  rebound: string[]
}

describe('a web page of another site, in a real browser beside the real services', { skip }, () => {
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await startSandbox({ only: ['observability'] })
    // Prometheus is ready before it has scraped anything
    await waitFor(async () => (await samples()) > 0 || new NotYet('no samples yet'), {
      timeoutMs: 60_000,
      onTimeout: last => new PlatformError(`Prometheus scrapes nothing: ${last}`),
    })
  })
  after(() => sandbox?.end())

  const text = async (script: string) => {
    const { exitCode, stdout, stderr } = await sandbox.exec(script)
    assert.equal(exitCode, 0, `${script}: ${stderr}`)
    return stdout.trim()
  }
  const attack = async (targets: readonly Target[]) => {
    const found = await text(`node test/helpers/attack-services.mjs '${JSON.stringify(targets)}'`)
    return JSON.parse(found) as Result[]
  }
  const startOfPrometheus = () =>
    text(`docker inspect --format '{{.State.StartedAt}} {{.RestartCount}}' macula-prometheus`)
  const samples = async () => {
    const query = 'sum(count_over_time(up[1h]))'
    const json = await text(
      `curl -fsS --get http://prometheus.macula.local/api/v1/query --data-urlencode 'query=${query}'`,
    )
    const { data } = JSON.parse(json) as { data: { result: { value: [number, string] }[] } }
    return Number(data.result[0]?.value[1] ?? 0)
  }
  const uploads = () => text(`docker exec macula-registry sh -c 'find /var/lib/registry -name _uploads | wc -l'`)

  it('reads and changes nothing at any documented address of theirs', async () => {
    const [started, before] = [await startOfPrometheus(), await samples()]
    assert.ok(before > 0)
    const results = await attack([
      { service: 'prometheus', address: 'http://prometheus.macula.local', listen: '127.0.0.3:80' },
      { service: 'prometheus', address: 'http://prometheus.macula.local:9090', listen: '127.0.0.3:9090' },
      { service: 'prometheus', address: 'http://127.0.0.3:9090', listen: '127.0.0.3:9090' },
      { service: 'registry', address: 'http://registry.macula.local', listen: '127.0.0.1:80' },
      { service: 'registry', address: 'http://localhost:5001', listen: '127.0.0.1:5001' },
      { service: 'powerdns', address: 'http://dns.macula.local', listen: '127.0.0.1:80' },
    ])
    assert.deepEqual(
      results.flatMap(({ address, foreign, rebound }) => [...foreign, ...rebound].map(path => `${address}${path}`)),
      [],
    )
    assert.equal(await startOfPrometheus(), started)
    assert.ok((await samples()) >= before)
    assert.equal(await uploads(), '0')
  })

  it('gets at the containers own addresses what docs/security.md says', async t => {
    const results = await attack([
      { service: 'powerdns', address: 'http://172.23.0.10:8081', listen: '172.23.0.10:8081' },
      { service: 'registry', address: 'http://172.23.0.5:5000', listen: '172.23.0.5:5000' },
      { service: 'prometheus', address: 'http://172.23.0.20:9090', listen: '172.23.0.20:9090' },
    ])
    for (const result of results) t.diagnostic(JSON.stringify(result))
    const [powerdns, registry, prometheus] = results
    t.diagnostic(`uploads started in the registry: ${await uploads()}; Prometheus: ${await startOfPrometheus()}`)
    // closed by webserver-allow-from
    assert.deepEqual([powerdns?.foreign, powerdns?.rebound], [[], []])
    // closed by --web.cors.origin; no setting looks at Host
    assert.deepEqual([prometheus?.foreign, prometheus?.rebound], [[], ['/api/v1/status/config']])
    assert.deepEqual([registry?.foreign, registry?.rebound], [[], ['/v2/_catalog']])
  })
})
