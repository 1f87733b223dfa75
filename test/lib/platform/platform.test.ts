import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { networkName } from '../../../lib/platform/addresses.ts'
import { serviceNamed, urlOf } from '../../../lib/platform/platform.ts'
import { documentedAddresses, examplePaths, examplePlatform, goodPlatform } from '../../helpers/platform.ts'

const pgweb = (block: string, extra = '') => `services:
  pgweb:
    image: sosedoff/pgweb:0.16.2
${extra}    x-macula: ${block}
`

async function problemsOf(local: string): Promise<string[]> {
  return (await examplePlatform({ local })).problems.map(({ where, what }) => `${where}: ${what}`)
}

describe('the catalogue', () => {
  it('answers the documented names with the documented addresses', async () => {
    const { names, wildcard } = await goodPlatform()
    assert.deepEqual(
      Object.fromEntries(names.map(({ name, ip }) => [name.replace('.macula.local', ''), ip])),
      documentedAddresses,
    )
    assert.equal(wildcard, '127.0.0.2')
  })

  it('routes HTTP of every documented address to the web server, all else straight to its container', async () => {
    const { routes } = await goodPlatform()
    assert.deepEqual(
      routes
        .map(({ group, listen, target }) => `${group} ${listen.ip}:${listen.port} ${target.ip}:${target.port}`)
        .sort(),
      [
        'data 127.0.0.7:5432 172.23.0.31:5432',
        'data 127.0.0.8:80 172.23.0.2:80',
        'data 127.0.0.8:9000 172.23.0.2:9000',
        'data 127.0.0.8:9001 172.23.0.2:9001',
        'observability 127.0.0.3:80 172.23.0.2:80',
        'observability 127.0.0.3:9090 172.23.0.2:9090',
        'observability 127.0.0.4:3000 172.23.0.2:3000',
        'observability 127.0.0.4:80 172.23.0.2:80',
        'observability 127.0.0.5:3100 172.23.0.2:3100',
        'observability 127.0.0.5:80 172.23.0.2:80',
        'observability 127.0.0.6:3200 172.23.0.2:3200',
        'observability 127.0.0.6:4317 172.23.0.23:4317',
        'observability 127.0.0.6:4318 172.23.0.2:4318',
        'observability 127.0.0.6:80 172.23.0.2:80',
      ],
    )
  })

  it('publishes nothing outside the loopback range, and pins every image', async () => {
    const { services } = await goodPlatform()
    for (const { name, image, published } of services) {
      assert.match(image, /:[\w.-]*\d[\w.-]*$/, `${name} is not pinned`)
      for (const { ip } of published) assert.match(ip, /^127\./)
    }
  })

  it('names containers as documented', async () => {
    const { services } = await goodPlatform()
    assert.deepEqual(
      services.filter(({ name, container }) => container !== `macula-${name}`),
      [],
    )
  })

  it('tells where a person finds a service', async () => {
    const platform = await goodPlatform()
    assert.equal(urlOf(serviceNamed(platform, 'grafana')), 'http://grafana.macula.local')
    assert.equal(urlOf(serviceNamed(platform, 'registry')), 'http://registry.macula.local/v2/')
    assert.equal(urlOf(serviceNamed(platform, 'timescaledb')), 'postgres://postgres.macula.local:5432')
    assert.equal(urlOf(serviceNamed(platform, 'powerdns-db')), '')
  })

  it('follows the settings for domain, subnet and loopback addresses', async () => {
    const platform = await goodPlatform({
      settings: { MACULA_DOMAIN: 'dev.test', MACULA_SUBNET: '10.99.0.0/16', MACULA_LOOPBACK: '127.0.1.11' },
    })
    const grafana = serviceNamed(platform, 'grafana')
    assert.equal(grafana.address, '10.99.0.21')
    assert.equal(grafana.loopback, '127.0.1.14')
    assert.equal(urlOf(grafana), 'http://grafana.dev.test')
    assert.equal(platform.wildcard, '127.0.1.12')
    assert.equal(serviceNamed(platform, 'nginx').published[0]?.ip, '127.0.1.11')
    assert.equal(platform.composeFiles[0]?.content.services?.nginx?.ports?.[0], '127.0.1.11:80:80')
  })

  it('follows the setting for what project, network and containers are called', async () => {
    const platform = await goodPlatform({ settings: { MACULA_PROJECT: 'second' }, local: pgweb('{ group: data }') })
    const [ours] = platform.composeFiles
    assert.equal(ours?.content.name, 'second')
    assert.deepEqual(ours?.content.networks, {
      'macula-infra': { name: 'second-infra', ipam: { config: [{ subnet: '172.23.0.0/16' }] } },
    })
    assert.equal(networkName(platform.settings), 'second-infra')
    for (const { name, container } of platform.services) assert.equal(container, `second-${name}`)
  })

  it('keeps only the named groups and infrastructure', async () => {
    const { groups } = await goodPlatform({ paths: { ...examplePaths(), onlyGroups: ['data'] } })
    assert.deepEqual(groups, ['infrastructure', 'data'])
  })
})

describe("a user's own service", () => {
  it('gets name, route, virtual host, container name and address with no code touched', async () => {
    const platform = await goodPlatform({
      local: pgweb('{ group: data, host: pgweb, loopback: 127.0.0.9, ports: [8081], health: / }'),
    })
    const service = serviceNamed(platform, 'pgweb')
    assert.equal(service.container, 'macula-pgweb')
    assert.equal(service.address, '172.23.0.200')
    assert.deepEqual(service.hosts, [{ host: 'pgweb', name: 'pgweb.macula.local', path: '/', port: 8081 }])
    assert.ok(platform.names.some(({ name, ip }) => name === 'pgweb.macula.local' && ip === '127.0.0.9'))
    assert.deepEqual(
      platform.routes
        .filter(({ service }) => service === 'pgweb')
        .map(({ listen, target }) => `${listen.ip}:${listen.port} ${target.ip}:${target.port}`),
      ['127.0.0.9:8081 172.23.0.2:8081', '127.0.0.9:80 172.23.0.2:80'],
    )
  })

  it('has a port of the web server to itself where another service has the same port', async () => {
    const platform = await goodPlatform({
      local: pgweb('{ group: data, host: pgweb, loopback: 127.0.0.9, ports: ["9090:8081", 7000], health: / }'),
    })
    assert.deepEqual(
      platform.routes
        .filter(({ listen }) => listen.port === 9090 || listen.port === 7000)
        .map(({ listen, target }) => `${listen.ip}:${listen.port} ${target.ip}:${target.port}`),
      ['127.0.0.3:9090 172.23.0.2:9090', '127.0.0.9:9090 172.23.0.2:10000', '127.0.0.9:7000 172.23.0.200:7000'],
    )
  })

  it('is reached by name alone where it has no loopback address', async () => {
    const platform = await goodPlatform({ local: pgweb('{ group: tools, host: pgweb, web: 8081 }') })
    assert.ok(platform.names.some(({ name, ip }) => name === 'pgweb.macula.local' && ip === '127.0.0.1'))
    assert.deepEqual(
      platform.routes.filter(({ service }) => service === 'pgweb'),
      [],
    )
  })

  it('may change a service of ours in single keys', async () => {
    const platform = await goodPlatform({ local: 'services:\n  grafana:\n    image: grafana/grafana:13.1.4\n' })
    const grafana = serviceNamed(platform, 'grafana')
    assert.equal(grafana.image, 'grafana/grafana:13.1.4')
    assert.equal(grafana.address, '172.23.0.21')
  })
})

describe('a broken description', () => {
  it('names file and line of every mistake, and what to write instead', async () => {
    const local = `services:
  one:
    image: x:1
    x-macula:
      group: data
      host: one
      loopback: 128.0.0.9
      ports: [99999]
      colour: red
`
    assert.deepEqual(await problemsOf(local), [
      'docker-compose.local.yml:7: services.one.x-macula.loopback should be an address of 127.0.0.0/8',
      'docker-compose.local.yml:8: services.one.x-macula.ports.0 should be a port, 1 to 65535',
      'docker-compose.local.yml:9: services.one.x-macula.colour is not a key of x-macula; known: group, host, path, web, loopback, ports, health, metrics, title, description',
    ])
  })

  it('refuses paths and ports that nginx would take for something else', async () => {
    for (const health of [
      '99999/x',
      '0/x',
      'tcp/0',
      'tcp/99999',
      'tcp/x',
      'tcp/',
      '/x;y',
      '/{id}',
      '/x?y=$z',
      '/"',
      "/'",
      '/\\',
      '/a b',
      '/#',
    ])
      assert.match(
        (await problemsOf(pgweb(`{ group: data, host: pgweb, web: 80, health: ${JSON.stringify(health)} }`)))[0] ?? '',
        /^docker-compose\.local\.yml:4: services\.pgweb\.x-macula\.health should be a path, port\/path, tcp, or tcp\/port/,
        health,
      )
    for (const ports of ['80:0', '0:80', '99999:80', '80:99999'])
      assert.match(
        (await problemsOf(pgweb(`{ group: data, loopback: 127.0.0.9, ports: ["${ports}"] }`)))[0] ?? '',
        /x-macula\.ports\.0 should be a port, 1 to 65535/,
        ports,
      )
    for (const block of ['path: "/x;y"', 'path: "/$x"', 'metrics: 99999/metrics', 'metrics: "80/{x}"'])
      assert.match((await problemsOf(pgweb(`{ group: data, host: p, web: 80, ${block} }`)))[0] ?? '', /should/, block)
    const good = [
      'tcp',
      'tcp/5432',
      '/',
      '/-/ready',
      '/a~b/c.d_e',
      '8080/x?y=z&a=%20',
      '/api/health?full=1',
      '/a:b@c,d+e',
    ]
    for (const health of good)
      assert.deepEqual(
        await problemsOf(pgweb(`{ group: data, host: pgweb, web: 80, health: "${health}" }`)),
        [],
        health,
      )
  })

  it('names both sides of a host that is claimed twice', async () => {
    const [problem] = await problemsOf(pgweb('{ group: data, host: grafana, web: 80 }'))
    assert.equal(
      problem,
      'docker-compose.local.yml:4: services.pgweb claims http://grafana.macula.local/, which grafana has already',
    )
  })

  it('refuses the name of an application', async () => {
    const [problem] = await problemsOf(pgweb('{ group: data, host: console, web: 80 }'))
    assert.match(problem ?? '', /claims console\.macula\.local, which an application has already/)
  })

  it('refuses a port that is published on every address', async () => {
    const [problem] = await problemsOf(pgweb('{ group: data }', '    ports: ["8081:8081"]\n'))
    assert.match(problem ?? '', /^docker-compose\.local\.yml:4: "8081:8081" would listen outside this machine/)
  })

  it('refuses a group that is missing, and YAML that cannot be read', async () => {
    assert.match((await problemsOf(pgweb('{ host: pgweb, web: 80 }')))[0] ?? '', /x-macula\.group is missing/)
    assert.match((await problemsOf('services: [unclosed'))[0] ?? '', /^docker-compose\.local\.yml:1: /)
  })

  it('refuses two services on one loopback port', async () => {
    const [problem] = await problemsOf(pgweb('{ group: data, loopback: 127.0.0.4, ports: [3000] }'))
    assert.match(problem ?? '', /claims 127\.0\.0\.4:3000\/tcp, which grafana has already/)
  })

  it('a name with a quote in it is a mistake, not a command', async () => {
    const [problem] = await problemsOf(pgweb(`{ group: data, host: "x'; rm -rf /", web: 80 }`))
    assert.match(
      problem ?? '',
      /^docker-compose\.local\.yml:4: services\.pgweb\.x-macula\.host should be one DNS label/,
    )
  })
})
