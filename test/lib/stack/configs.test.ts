import assert from 'node:assert/strict'
import { test } from 'node:test'
import { renderConfigs } from '../../../lib/stack/config/configs.ts'
import { bcryptSalt } from '../../../lib/stack/config/secrets.ts'
import { contentOf, examplePlatform, exampleSecrets, renderExample } from '../../helpers/example.ts'

const ownService = `
services:
  wiki:
    image: example/wiki:1
    x-macula: { group: tools, host: wiki, web: 8080, health: /alive, metrics: 8080/metrics, title: '<Wiki & "co">' }
`

test('a service of the user gets a virtual host, a scrape target, a health check and a tile', async () => {
  const files = await renderExample({ local: ownService })
  const platform = await examplePlatform({ local: ownService })
  const { address } = platform.services.find(({ name }) => name === 'wiki')!
  const vhosts = contentOf(files, 'config/nginx/vhosts.conf')
  assert.match(
    vhosts,
    /server_name wiki\.macula\.local;\n {2}set \$service wiki;\n {2}include \/etc\/nginx\/macula\/server\.conf;\n\n {2}# wiki\n {2}location \/ \{\n/,
  )
  assert.ok(vhosts.includes(`upstream wiki-8080 {\n  server ${address}:8080;`))
  assert.ok(vhosts.includes('    proxy_pass http://wiki-8080;'))
  assert.ok(vhosts.includes('location = /health/wiki {\n    proxy_pass http://wiki-8080/alive;'))
  const targets = JSON.parse(contentOf(files, 'config/prometheus/targets/services.json')) as unknown[]
  assert.deepEqual(targets.at(-1), {
    targets: ['wiki:8080'],
    labels: { job: 'wiki', group: 'tools', __metrics_path__: '/metrics' },
  })
  const portal = contentOf(files, 'config/portal/index.html')
  assert.match(portal, /<h2>Tools<\/h2>/)
  assert.ok(portal.includes('&#60;Wiki &#38; &#34;co&#34;&#62;'), 'the title is text, not markup')
  assert.ok(portal.includes('data-probe="/health/wiki"'))
})

test('two services share one name by path', async () => {
  const vhosts = contentOf(await renderExample(), 'config/nginx/vhosts.conf')
  assert.equal(vhosts.match(/server_name registry\.macula\.local;/g)?.length, 1)
  const block = /server_name registry\.macula\.local;(.*?)\n}/s.exec(vhosts)?.[1] ?? ''
  assert.match(block, /location \/v2\/ \{\n {4}proxy_pass http:\/\/registry-5000;/)
  assert.match(block, /location \/ \{\n {4}proxy_pass http:\/\/registry-ui-80;/)
  assert.match(vhosts, /upstream registry-5000 \{\n {2}server 172\.23\.0\.5:5000;/)
  assert.match(vhosts, /upstream registry-ui-80 \{\n {2}server 172\.23\.0\.6:80;/)
})

test('the portal shows a tile for each service with a name or a health check, and none for the rest', async () => {
  const portal = contentOf(await renderExample(), 'config/portal/index.html')
  const tiles = [...portal.matchAll(/<h3>([^<]*?) ?[<\n]/g)].map(([, title]) => title)
  assert.deepEqual(tiles, [
    'Registry API',
    'Registry',
    'PowerDNS',
    'PowerDNS database',
    'PowerDNS database metrics',
    'DNS admin',
    'Prometheus',
    'Grafana',
    'Loki',
    'Tempo',
    'Collector',
    'Machine metrics',
    'TimescaleDB',
    'TimescaleDB metrics',
    'Object store',
    'Console',
    'Bootstrap',
    'Peer1',
    'Peer2',
  ])
  for (const url of ['http://s3-console.macula.local/', 'http://registry.macula.local/v2/'])
    assert.ok(portal.includes(`<a href="${url}">`), url)
  assert.ok(portal.includes('<code>postgres://postgres@postgres.macula.local:5432/macula</code>'))
})

test('everything follows the domain and the subnet of the settings', async () => {
  const files = await renderExample({ settings: { MACULA_DOMAIN: 'dev.example', MACULA_SUBNET: '10.99.0.0/16' } })
  for (const { path, content } of files) {
    // comments may name the defaults
    const text = content.replace(/^\s*(#|--|\/\/).*$/gm, '')
    assert.doesNotMatch(text, /macula\.local|172\.23\./, path)
  }
  assert.match(contentOf(files, 'config/nginx/vhosts.conf'), /server_name grafana\.dev\.example;/)
  assert.match(contentOf(files, 'config/powerdns/pdns.conf'), /^gpgsql-host=10\.99\.0\.11$/m)
})

test('what is kept follows the settings', async () => {
  const files = await renderExample({
    settings: { METRICS_DAYS: '7', METRICS_GB: '1', LOGS_DAYS: '3', TRACES_DAYS: '2' },
  })
  const compose = contentOf(files, 'docker-compose.services.yml')
  assert.match(compose, /--storage\.tsdb\.retention\.time=7d\b/)
  assert.match(compose, /--storage\.tsdb\.retention\.size=1GB\b/)
  assert.match(contentOf(files, 'config/loki/loki.yml'), /retention_period: 3d$/m)
  assert.match(contentOf(files, 'config/tempo/tempo.yml'), /block_retention: 48h/)
  assert.match(contentOf(files, 'config/portal/index.html'), /kept for 7 days or 1 GB/)
})

test('secrets stand in files under secrets/ and nowhere else', async () => {
  const files = await renderExample()
  const secretFiles = files.filter(({ path }) => path.startsWith('secrets/'))
  assert.equal(secretFiles.length, 9)
  for (const { path, mode, content } of secretFiles) {
    assert.equal(mode, 0o444, path)
    assert.ok(
      path === 'secrets/powerdns_conf' || !/\s/.test(content),
      `${path} holds the secret and not a newline more`,
    )
  }
  for (const { path, content } of files) {
    if (path.startsWith('secrets/')) continue
    for (const [name, secret] of Object.entries(exampleSecrets))
      assert.ok(!content.includes(secret), `${name} in ${path}`)
  }
  assert.equal(contentOf(files, 'secrets/postgres_password'), exampleSecrets.POSTGRES_PASSWORD)
  assert.equal(
    contentOf(files, 'secrets/powerdns_conf'),
    `api-key=${exampleSecrets.PDNS_API_KEY}\ngpgsql-password=${exampleSecrets.PDNS_DB_PASSWORD}\n`,
  )
})

test('the salt has the form that bcrypt takes, the same for the same text', () => {
  // 16 bytes are 21 letters and 2 bits, so the last letter is one of four
  assert.match(bcryptSalt('anything'), /^\$2b\$12\$[./A-Za-z0-9]{21}[.Oeu]$/)
  assert.equal(bcryptSalt('anything'), bcryptSalt('anything'))
  assert.notEqual(bcryptSalt('anything'), bcryptSalt('something else'))
})

test('rendering twice gives the same files', async () => {
  const platform = await examplePlatform()
  assert.deepEqual(await renderConfigs(platform), await renderConfigs(platform))
})
