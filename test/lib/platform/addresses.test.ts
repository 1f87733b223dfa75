// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of compose files
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { stringify } from 'yaml'
import { onMachineNetwork } from '../../../lib/platform/addresses.ts'
import type { Settings } from '../../../lib/platform/settings.ts'
import { defaultSettings, readSettings, secretNames } from '../../../lib/platform/settings.ts'
import { examplePlatform, goodPlatform } from '../../helpers/platform.ts'
import { tries, tryInputs } from '../../helpers/property.ts'

const own = (...lines: string[]) => `services:\n  own:\n    image: x:1\n${lines.map(line => `    ${line}\n`).join('')}`

async function problemsOf(local: string, settings: Partial<Settings> = {}): Promise<string[]> {
  return (await examplePlatform({ local, settings })).problems.map(({ where, what }) => `${where}: ${what}`)
}

describe('addresses of services', () => {
  it('go on in the next part of the network when the first is full, and never end in 0 or 255', async () => {
    const services = Object.fromEntries(Array.from({ length: 600 }, (_, index) => [`s${index}`, { image: 'x:1' }]))
    const { services: described } = await goodPlatform({ local: stringify({ services }) })
    const addresses = described.map(({ address }) => address).filter(address => address !== '')
    assert.equal(addresses.length, described.length - onMachineNetwork.length)
    assert.equal(new Set(addresses).size, addresses.length)
    for (const address of addresses) {
      assert.ok(ipaddr.IPv4.isValidFourPartDecimal(address), address)
      assert.doesNotMatch(address, /\.(0|255)$/)
    }
    const [s54, s55] = ['s54', 's55'].map(name => described.find(service => service.name === name)?.address)
    assert.deepEqual([s54, s55], ['172.23.0.254', '172.23.1.1'])
  })

  it('are moved with the subnet, and refused outside it', async () => {
    const fixed = (address: string) => own(`networks: { macula-infra: { ipv4_address: ${address} } }`)
    const { services } = await goodPlatform({ local: fixed('172.23.0.50'), settings: { MACULA_SUBNET: '10.9.0.0/16' } })
    assert.equal(services.at(-1)?.address, '10.9.0.50')
    assert.deepEqual(await problemsOf(fixed('192.168.1.1')), [
      'docker-compose.local.yml:4: services.own.networks.macula-infra.ipv4_address 192.168.1.1 is not in 172.23.0.0/16; write one like 172.23.0.50',
    ])
    assert.equal((await problemsOf(fixed('172.23.0.256'))).length, 1)
    assert.match((await problemsOf(fixed('172.23.0.21')))[0] ?? '', /claims address 172\.23\.0\.21, which grafana has/)
  })

  it('on the loopback interface are refused where the settings move them to one that does not exist', async () => {
    const local = own('x-macula: { group: data, host: own, loopback: 127.0.0.200, ports: [80] }')
    assert.match(
      (await problemsOf(local, { MACULA_LOOPBACK: '127.0.0.100' }))[0] ?? '',
      /^docker-compose\.local\.yml:4: services\.own\.x-macula\.loopback 127\.0\.0\.200 is 127\.0\.0\.299 .* does not exist/,
    )
  })

  for (const [what, local, expected] of [
    [
      'port 80 of the ingress',
      own('x-macula: { group: data, loopback: 127.0.0.2, ports: [80] }'),
      /127\.0\.0\.2:80\/tcp, which the cluster's ingress has already/,
    ],
    [
      'the address of the ingress for a page',
      own('x-macula: { group: data, host: own, web: 80, loopback: 127.0.0.2 }'),
      /127\.0\.0\.2:80\/tcp, which the cluster's ingress has/,
    ],
    [
      'a published port of the ingress',
      own('ports: ["127.0.0.2:443:443"]'),
      /127\.0\.0\.2:443\/tcp, which the cluster's ingress has already/,
    ],
    [
      'a port of the KinD node',
      own('ports: ["127.0.0.1:8080:80"]'),
      /127\.0\.0\.1:8080\/tcp, which the cluster's ingress has already/,
    ],
    [
      'UDP of the ingress',
      own('ports: ["127.0.0.2:4433:1/udp"]'),
      /127\.0\.0\.2:4433\/udp, which the cluster's ingress has already/,
    ],
    [
      'the port of the DNS server',
      own('ports: ["127.0.0.1:53:53/udp"]'),
      /127\.0\.0\.1:53\/udp, which the DNS server has already/,
    ],
    ['port 80 of another page', own('ports: ["127.0.0.4:80:80"]'), /127\.0\.0\.4:80\/tcp, which nginx has already/],
    [
      'a range over a port of ours',
      own('ports: ["127.0.0.1:5000-5002:5000-5002"]'),
      /127\.0\.0\.1:5001\/tcp, which \w+ has already/,
    ],
  ] as const)
    it(`are refused where they are taken: ${what}`, async () => {
      const problems = await problemsOf(local)
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0] ?? '', /^docker-compose\.local\.yml:4: services\.own claims /)
      assert.match(problems[0] ?? '', expected)
    })

  it('of the ingress are free where the cluster is elsewhere', async () => {
    const settings = { CLUSTER: 'existing', CLUSTER_CONTEXT: 'x' }
    assert.deepEqual(await problemsOf(own('ports: ["127.0.0.1:8080:80"]'), settings), [])
  })

  it('are refused on every interface, also behind a profile and with the network of the machine', async () => {
    assert.match(
      (await problemsOf(own('profiles: [debug]', 'ports: ["0.0.0.0:80:80"]')))[0] ?? '',
      /:5: .*would listen outside/,
    )
    assert.match(
      (await problemsOf(own('network_mode: host')))[0] ?? '',
      /^docker-compose\.local\.yml:4: services\.own\.network_mode: host makes/,
    )
    assert.deepEqual(await problemsOf(own('network_mode: none')), [])
  })

  it('are needed for what x-macula says', async () => {
    const block = 'x-macula: { group: data, host: own, web: 80 }'
    assert.match((await problemsOf(own('network_mode: none', block)))[0] ?? '', /:5: .*leave out network_mode/)
    assert.match((await problemsOf(own('scale: 2', block)))[0] ?? '', /:5: .*leave out scale and replicas/)
  })
})

describe('variables of a user', () => {
  it('are refused where they are secrets, with the way in which one reaches a service', async () => {
    for (const written of [
      '$POSTGRES_PASSWORD',
      '${POSTGRES_PASSWORD}',
      'x${POSTGRES_PASSWORD:-y}z',
      '${X:-$POSTGRES_PASSWORD}',
    ])
      assert.deepEqual(await problemsOf(own(`environment: { A: "${written}" }`)), [
        'docker-compose.local.yml:4: ${POSTGRES_PASSWORD} is a secret, and not passed to services as a variable; mount it as a file: secrets: [postgres_password], read from /run/secrets/postgres_password',
      ])
    assert.match((await problemsOf(own('command: $PDNS_API_KEY')))[0] ?? '', /secrets: \[powerdns_api_key\]/)
    assert.deepEqual(await problemsOf(own('command: $$POSTGRES_PASSWORD')), [])
  })

  it('name a Compose secret that there is, for every secret of the settings', async () => {
    const { compose } = await goodPlatform()
    for (const name of secretNames) {
      const [problem = ''] = await problemsOf(own(`command: $${name}`))
      const file = /secrets: \[(\w+)\]/.exec(problem)?.[1] ?? ''
      assert.ok(compose.ours.secrets?.[file], `${name}: ${problem}`)
    }
  })

  it('come from the settings and the environment', async () => {
    const { platform } = await examplePlatform({
      local: own('container_name: "$NAME-${MACULA_PROJECT}"', 'ports: ["${MACULA_LOOPBACK}:${PORT:-9999}:80"]'),
      environment: { NAME: 'mine' },
    })
    const service = platform.services.at(-1)
    assert.equal(service?.container, 'mine-macula')
    assert.deepEqual(service?.published, [{ ip: '127.0.0.1', hostPort: 9999, containerPort: 80, protocol: 'tcp' }])
  })
})

describe('every input', () => {
  it('of an x-macula block is refused with its line, or comes to addresses and ports that exist', async () => {
    // mostly good, so that a block with many keys may still be
    const mostly = <T, U>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<U>) =>
      fc.oneof({ weight: 12, arbitrary: good }, { weight: 1, arbitrary: bad })
    const port = mostly(
      fc.oneof(fc.integer({ min: 1, max: 65_535 }), fc.constantFrom('80', '80:81')),
      fc.constantFrom<string | number>(0, -1, 70_000, '99999:80', '0:1', ':', 'x'),
    )
    const name = mostly(
      fc.constantFrom('own', 'a-b', 'x1'),
      fc.constantFrom('A', '-a', 'console', 'grafana', 'x.y', '', 'ü', 'a'.repeat(64)),
    )
    const number = fc.integer({ min: 1, max: 65_535 })
    const block = fc.record(
      {
        group: mostly(fc.constantFrom('data', 'tools'), fc.constantFrom('X', '', 5)),
        host: fc.oneof(name, fc.dictionary(name, number, { minKeys: 1, maxKeys: 2 })),
        path: mostly(fc.constantFrom('/', '/a'), fc.constantFrom('a', '/;', '/{x}', '/a b')),
        web: fc.oneof(number, fc.constant(false), fc.array(number, { minLength: 1, maxLength: 3 })),
        loopback: mostly(
          fc.constantFrom('127.0.0.9', '127.0.0.250', '127.5.5.5'),
          fc.constantFrom('127.0.0.2', '127.0.0.299', '10.0.0.1', '::1', 'x'),
        ),
        ports: fc.uniqueArray(port, { maxLength: 3 }),
        health: mostly(fc.constantFrom('/', 'tcp', '80/x'), fc.constantFrom('99999/x', '/x;y', '/x?y=$z', '')),
        metrics: mostly(fc.constant('80/metrics'), fc.constantFrom('/metrics', 'x')),
        title: fc.string({ maxLength: 5 }),
      },
      { requiredKeys: ['group'] },
    )
    const texts = fc
      .sample(block, tries(60))
      .map(block => stringify({ services: { own: { image: 'x:1', 'x-macula': block } } }))
    const read = new Map(
      await Promise.all(texts.map(async local => [local, await examplePlatform({ local })] as const)),
    )
    tryInputs('x-macula block', fc.constantFrom(...texts), 60, local => {
      const { platform, problems } = read.get(local)!
      for (const { where } of problems) assert.match(where, /^docker-compose\.local\.yml:\d+$/)
      if (problems.length > 0) return 'refused'
      for (const { listen, target } of platform.routes)
        for (const { ip, port } of [listen, target]) {
          assert.ok(ipaddr.IPv4.isValidFourPartDecimal(ip), ip)
          assert.ok(port >= 1 && port <= 65535, String(port))
        }
      return 'exact'
    })
  })

  it('of a setting is refused with its line, or taken as it is written', async () => {
    const defaults = await defaultSettings()
    const secrets = secretNames.map(name => `${name}=long-enough-for-every-secret`)
    const value = fc.oneof(
      fc.constantFrom(
        ...Object.values(defaults),
        '0',
        '-1',
        '65536',
        '127.0.0.1',
        '127.0.0.0',
        '8.8.0.0/16',
        '10.0.0.0/16',
        'a.b',
        'localhost',
        '::1',
        'true',
        '/',
        '../x',
      ),
      fc.ipV4(),
      fc.domain(),
      fc.integer({ min: 0, max: 70_000 }).map(String),
      fc.stringMatching(/^[\w./:@-]{1,20}$/),
    )
    const names = Object.keys(defaults).filter(name => !secretNames.some(secret => secret === name))
    tryInputs('setting', fc.tuple(fc.constantFrom(...names), value), 500, ([name, value]) => {
      const { values, problems } = readSettings([...secrets, `${name}=${value}`].join('\n'), defaults, {})
      for (const { where } of problems)
        assert.ok(where === name || where === `line ${secrets.length + 1}, ${name}`, where)
      if (problems.length > 0) return 'refused'
      assert.equal(values[name as keyof Settings], value || defaults[name as keyof Settings])
      return 'exact'
    })
  })
})

describe('reading services', () => {
  /** Milliseconds of processor time, which other programs of this machine do not change much. */
  async function cost(count: number): Promise<number> {
    const services = Array.from(
      { length: count },
      (_, index) =>
        `  s${index}: { <<: *common, image: "x:${index}", x-macula: { group: data, host: h${index}, loopback: 127.1.${index >> 8}.${index & 255}, ports: [8080], health: / } }\n`,
    )
    const local = `x-common: &common { restart: always, environment: { A: "$MACULA_DOMAIN" } }\nservices:\n${services.join('')}`
    const before = process.cpuUsage()
    await goodPlatform({ local })
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }

  it('takes time in proportion to their number, and at most 2 ms each', async context => {
    await cost(500)
    // our own services, which are there without any of the user's
    const own = await cost(1)
    const costs = new Map<number, number>()
    // the best of three where little else that happens meanwhile would weigh much
    for (const count of [10, 100]) costs.set(count, Math.min(await cost(count), await cost(count), await cost(count)))
    for (const count of [1000, 5000]) costs.set(count, await cost(count))
    const each = (count: number) => ((costs.get(count) ?? 0) - own) / count
    context.diagnostic([...costs].map(([count, ms]) => `${count} services: ${ms.toFixed(0)} ms`).join(', '))
    for (const count of costs.keys()) assert.ok(each(count) <= 2, `${each(count).toFixed(2)} ms a service of ${count}`)
    assert.ok(
      each(5000) < 2 * each(1000),
      `${each(1000).toFixed(2)} ms a service of 1000, ${each(5000).toFixed(2)} of 5000`,
    )
  })
})
