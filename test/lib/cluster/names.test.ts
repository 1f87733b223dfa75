import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { nameManifests, nodeAddress, podNames, withPlatformNames } from '../../../lib/cluster/names.ts'
import { hostsToml, registryNames } from '../../../lib/cluster/node-registry.ts'
import { clusterRoutes } from '../../../lib/platform/ingress-routes.ts'
import { goodPlatform } from '../../helpers/platform.ts'

const portsOf = async (name: string, options = {}) =>
  podNames(await goodPlatform(options))
    .find(each => each.host === name)
    ?.ports.map(({ listen, ip, target }) => `${listen} ${ip}:${target}`)

describe('names inside pods', () => {
  it('lead to the same ports as on the machine', async () => {
    assert.deepEqual(await portsOf('s3'), ['80 172.23.0.2:80', '9000 172.23.0.30:9000', '9001 172.23.0.30:9001'])
    assert.deepEqual(await portsOf('postgres'), ['5432 172.23.0.31:5432'])
    assert.ok((await portsOf('tempo'))?.includes('4318 172.23.0.23:4318'))
  })

  it('are there once, however many services share one', async () => {
    const names = podNames(await goodPlatform()).map(({ name }) => name)
    assert.deepEqual(names, [...new Set(names)])
    assert.deepEqual((await portsOf('registry'))?.sort(), ['5001 172.23.0.5:5000', '80 172.23.0.2:80'])
  })

  it("include a user's own service", async () => {
    const local = `services:
  shop-db:
    image: postgres:17
    x-macula: { group: data, host: shop-db, web: false, loopback: 127.0.0.9, ports: [5432] }
`
    // a service without a page has a name only through its host
    const ports = await portsOf('shop-db', { local })
    assert.ok(ports === undefined || ports.every(port => port.startsWith('5432 ')), String(ports))
  })

  it('follow another subnet', async () => {
    const platform = await goodPlatform({ settings: { MACULA_SUBNET: '10.99.0.0/16' } })
    assert.equal(nodeAddress(platform, 0), '10.99.0.100')
    assert.ok(podNames(platform).every(({ ports }) => ports.every(({ ip }) => ip.startsWith('10.99.'))))
  })
})

describe('the manifests behind them', () => {
  it('are one Service for each name, and a slice for each address its ports lead to', async () => {
    const manifests = nameManifests(podNames(await goodPlatform()).filter(({ host }) => host === 's3'))
    assert.deepEqual(
      manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
      ['Service name-s3', 'EndpointSlice name-s3-172-23-0-2', 'EndpointSlice name-s3-172-23-0-30'],
    )
    const [service, ...slices] = manifests
    const portNames = (object: unknown) => (object as { ports: { name: string }[] }).ports.map(({ name }) => name)
    assert.deepEqual(slices.flatMap(portNames).sort(), portNames(service?.spec).sort())
  })
})

describe("CoreDNS's configuration", () => {
  const original = '.:53 {\n    errors\n    forward . /etc/resolv.conf\n}\n'
  const once = withPlatformNames(
    original,
    'macula.local',
    [{ name: 's3.macula.local', ip: '10.96.1.2' }],
    '172.23.0.100',
  )

  it('keeps what is not ours and answers the domain', () => {
    assert.ok(once.startsWith(original.trimEnd()))
    assert.match(once, /^macula\.local:53 \{$/m)
    assert.match(once, /match "\^s3\[\.\]macula\[\.\]local\[\.\]\$"\n +answer "\{\{ \.Name \}\} 30 IN A 10\.96\.1\.2"/)
    assert.match(once, /30 IN A 172\.23\.0\.100/)
  })

  it('is the same the second time, and changes in place', () => {
    const again = withPlatformNames(
      once,
      'macula.local',
      [{ name: 's3.macula.local', ip: '10.96.1.2' }],
      '172.23.0.100',
    )
    assert.equal(again, once)
    const moved = withPlatformNames(
      once,
      'macula.local',
      [{ name: 's3.macula.local', ip: '10.96.9.9' }],
      '172.23.0.100',
    )
    assert.equal(moved, once.replace('10.96.1.2', '10.96.9.9'))
  })
})

describe('the way from and to the cluster', () => {
  it('lets nodes pull from the registry under both of its names', async () => {
    assert.deepEqual(registryNames(await goodPlatform()), ['localhost:5001', 'registry.macula.local'])
    assert.deepEqual(registryNames(await goodPlatform({ settings: { MACULA_LOOPBACK: '127.0.0.11' } })), [
      '127.0.0.11:5001',
      'registry.macula.local',
    ])
    assert.equal(
      hostsToml('172.23.0.5:5000'),
      'server = "http://172.23.0.5:5000"\n\n[host."http://172.23.0.5:5000"]\n  capabilities = ["pull", "resolve"]\n',
    )
  })

  it("leads the applications' ports to the node's", async () => {
    const routes = clusterRoutes(await goodPlatform({ settings: { INGRESS_HTTP_PORT: '9080' } }))
    assert.deepEqual(
      routes.map(({ listen, target }) => `${listen.ip}:${listen.port} → ${target.ip}:${target.port}`),
      ['127.0.0.2:80 → 127.0.0.1:9080', '127.0.0.2:443 → 127.0.0.1:8443'],
    )
  })
})
