import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import { stringify } from 'yaml'
import { readComposeFile } from '../../../lib/platform/compose-file.ts'
import { loadPlatform, serviceNamed } from '../../../lib/platform/platform.ts'
import { examplePaths, examplePlatform, exampleSettings, goodPlatform } from '../../helpers/platform.ts'
import { tries, tryInputs } from '../../helpers/property.ts'

async function problemsOf(local: string): Promise<string[]> {
  return (await examplePlatform({ local })).problems.map(({ where, what }) => `${where}: ${what}`)
}

describe('a compose file of the wrong shape', () => {
  for (const [local, expected] of [
    ['services:\n  grafana:\n', ':2: services.grafana should be a mapping, with `image:`'],
    ['services:\n  own: text\n', ':2: services.own should be a mapping, with `image:`'],
    ['services:\n  own: [image]\n', ':2: services.own should be a mapping, with `image:`'],
    ['services: [own]\n', ':1: services should be a mapping of services'],
    ['services: text\n', ':1: services should be a mapping of services'],
    ['- services\n', ':1: should be a compose file, with `services:`'],
    ['just text\n', ':1: should be a compose file, with `services:`'],
    ['5\n', ':1: should be a compose file, with `services:`'],
    ['services:\n  own:\n    image: 5\n', ':3: services.own.image should be a string'],
    ['services:\n  own:\n    image: { a: b }\n', ':3: services.own.image should be a string'],
    ['services:\n  own:\n    ports: 127.0.0.9:80:80\n', ':3: services.own.ports should be a list of ports'],
    ['services:\n  own:\n    ports: { a: b }\n', ':3: services.own.ports should be a list of ports'],
    ['services:\n  own:\n    ports: [[80]]\n', ':3: services.own.ports.0 should be a port: "127.0.0.9:8080:80"'],
    ['services:\n  own:\n    ports:\n      - true\n', ':4: services.own.ports.0 should be a port: "127.0.0.9:8080:80"'],
    ['services:\n  own:\n    volumes: ./a:/a\n', ':3: services.own.volumes should be a list of volumes'],
    ['services:\n  own:\n    networks: text\n', ':3: services.own.networks should be a list of networks, or a mapping'],
    ['services:\n  own:\n    depends_on: 5\n', ':3: services.own.depends_on should be a list of names, or a mapping'],
    ['services:\n  own:\n    secrets: text\n', ':3: services.own.secrets should be a list of secrets'],
    ['services:\n  own:\n    profiles: text\n', ':3: services.own.profiles should be a list of profiles'],
    ['services:\n  own:\n    extends: [a]\n', ':3: services.own.extends should be the name of a service, or a mapping'],
    ['services:\n  own:\n    x-macula: [a]\n', ':3: services.own.x-macula should be a mapping of keys to values'],
    ['services:\n  own: { image: x }\nx-macula: text\n', ':3: x-macula should be a mapping of keys to values'],
    ['networks: [a]\n', ':1: networks should be a mapping of keys to values'],
    ['secrets: { own: text }\n', ':1: secrets.own should be a mapping of keys to values'],
    ['include: deep/other.yml\n', ':1: include should be a list of files'],
    ['services:\n  own: *nothing\n', ':2: *nothing is not an anchor of this file'],
    ['services:\n  own: { <<: *late, image: x }\nx: &late { a: b }\n', ':2: *late is not an anchor of this file'],
    ['services:\n  own: { image: x }\n  own: { image: y }\n', ':3: Map keys must be unique'],
    ['services: {\n', ':2: Flow map in block collection must be sufficiently indented and end with a }'],
    ['services:\n\town: { image: x }\n', ':2: Tabs are not allowed as indentation'],
  ] as const)
    it(`is refused with its line: ${JSON.stringify(local)}`, async () => {
      const problems = await problemsOf(local)
      assert.ok(problems.includes(`docker-compose.local.yml${expected}`), problems.join('\n'))
    })

  it('is refused for all that is wrong at once', async () => {
    const problems = await problemsOf('services:\n  one:\n  two: { ports: text, volumes: text }\n')
    assert.equal(problems.length, 3)
  })

  it('is never a crash: what is not refused with its line reads as it is written', () => {
    const base = {
      services: {
        own: {
          image: 'x:1',
          ports: ['127.0.0.9:80:80', { target: 80, published: 90, host_ip: '127.0.0.9' }],
          networks: { 'macula-infra': { ipv4_address: '172.23.0.50' } },
          volumes: ['a:/a', { type: 'bind', source: './b', target: '/b' }],
          depends_on: { grafana: { condition: 'service_healthy' } },
          secrets: ['postgres_password'],
          environment: { A: '1' },
          extends: { service: 'base' },
          profiles: ['a'],
          deploy: { replicas: 1 },
          'x-macula': { group: 'data', host: { a: 80 }, ports: [80, '81:82'], health: '/', loopback: '127.0.0.9' },
        },
        base: { build: '.', logging: { driver: 'none' } },
      },
      networks: { lab: { external: true } },
      secrets: { mine: { file: './x' } },
      include: [],
      'x-macula': { applications: { loopback: '127.0.0.2', hosts: ['shop'] } },
    }
    const paths = pathsIn(base)
    const odd = fc.constantFrom(
      null,
      '',
      'text',
      5,
      -1,
      true,
      [],
      {},
      [null],
      { a: 1 },
      [[]],
      '$',
      '${',
      1e30,
      '127.0.0.1',
    )
    const changed = fc
      .array(fc.tuple(fc.constantFrom(...paths), odd), { minLength: 1, maxLength: 3 })
      .map(changes => changes.reduce((file, [path, value]) => withChange(file, path, value), base as unknown))
    tryInputs('compose file, changed in places', changed, 400, content => {
      const text = stringify(content)
      const { files, problems } = readComposeFile({ file: 'local.yml', text }, () => undefined)
      for (const { where } of problems) assert.match(where, /^local\.yml:\d+$/)
      if (problems.length === 0) assert.ok(files[0]?.content)
      return problems.length === 0 ? 'exact' : 'refused'
    })
  })

  it('is never a crash for the whole platform either', async () => {
    const files = fc.sample(
      fc.array(
        fc.constantFrom(
          'services:',
          '  own:',
          '    image: x',
          '    ports:',
          '      - 80',
          '    x-macula:',
          '      group: data',
          '      host: a',
          '      ports: [80]',
          '- a',
          '  <<: *a',
          '  b: &a',
          '    network_mode: host',
          '    scale: 3',
          '$',
          ': :',
          '!!x y',
          '? z',
          '---',
          '    extends: own',
          '    profiles: [a]',
        ),
      ),
      tries(60),
    )
    const outcomes = new Map<string, 'refused' | 'exact'>()
    for (const lines of files) {
      const text = lines.join('\n')
      const { problems } = await examplePlatform({ local: text })
      for (const { where } of problems) assert.match(where, /^docker-compose\.local\.yml:\d+$/, text)
      outcomes.set(text, problems.length === 0 ? 'exact' : 'refused')
    }
    tryInputs('compose file, of random lines', fc.constantFrom(...outcomes.keys()), 60, text => outcomes.get(text)!)
  })
})

describe('a good compose file', () => {
  it('may merge one anchor into hundreds of services, and hold aliases in what it merges', async () => {
    const services = Array.from(
      { length: 300 },
      (_, index) => `  s${index}: { <<: *common, container_name: s${index} }`,
    )
    const local = `x-env: &env { A: "1" }
x-common: &common { image: "x:1", environment: *env, x-macula: { group: data } }
services:
${services.join('\n')}
`
    assert.equal((await goodPlatform({ local })).services.filter(({ image }) => image === 'x:1').length, 300)
  })

  it('may call services what every object has', async () => {
    const local =
      'services: { constructor: { image: "x:1" }, __proto__: { image: "x:2" }, toString: { image: "x:3" } }\n'
    const platform = await goodPlatform({ local })
    assert.deepEqual(
      platform.services.slice(-3).map(({ name, image }) => `${name} ${image}`),
      ['constructor x:1', '__proto__ x:2', 'toString x:3'],
    )
  })

  it('may reset and override what ours says', async () => {
    const local = `services:
  nginx: { ports: !override ["127.0.0.1:8088:80"] }
  registry-ui: { x-macula: !reset null }
`
    const platform = await goodPlatform({ local })
    assert.deepEqual(
      serviceNamed(platform, 'nginx').published.map(({ hostPort }) => hostPort),
      [8088],
    )
    assert.deepEqual(serviceNamed(platform, 'registry-ui').hosts, [])
    assert.equal((await goodPlatform({ local: 'services: { tempo: !reset null }\n' })).described.has('tempo'), false)
  })

  it('has its image built where it says so, under the name that Compose gives it', async () => {
    const platform = await goodPlatform({ local: 'services: { own: { build: ./app } }\n' })
    const { image, isBuilt } = serviceNamed(platform, 'own')
    assert.deepEqual({ image, isBuilt }, { image: 'macula-own', isBuilt: true })
  })
})

describe('files that a compose file names', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-include-'))
    await mkdir(join(folder, 'deep'))
    const settings = Object.entries(await exampleSettings())
    await writeFile(join(folder, '.env'), settings.map(([key, value]) => `${key}=${value}\n`).join(''))
  })
  after(() => rm(folder, { recursive: true }))

  async function load(local: string, deep: string) {
    const paths = examplePaths(folder)
    await writeFile(paths.localComposeFile, local)
    await writeFile(join(folder, 'deep', 'other.yml'), deep)
    return loadPlatform(paths, {})
  }

  it('bring their services: included ones, and those that others extend', async () => {
    const platform = await load(
      'include: [deep/other.yml]\nservices:\n  own: { extends: { file: deep/other.yml, service: base }, x-macula: { host: own } }\n',
      'services:\n  base: { image: "x:1", x-macula: { group: tools, web: 80 } }\n',
    )
    const own = serviceNamed(platform, 'own')
    assert.deepEqual([own.image, own.group, own.hosts[0]?.port], ['x:1', 'tools', 80])
    assert.ok(serviceNamed(platform, 'base'))
  })

  it('are refused where they are not there, with the line that names them', async () => {
    await assert.rejects(load('include:\n  - deep/nowhere.yml\n', ''), ({ why }: { why: string }) => {
      assert.match(why, /^docker-compose\.local\.yml:2: .*deep\/nowhere\.yml cannot be read: ENOENT/)
      return true
    })
  })

  it('are refused for what is wrong in them, with their own line', async () => {
    await assert.rejects(
      load('include: [deep/other.yml]\n', 'services:\n  other:\n    image: x\n    ports: ["80:80"]\n'),
      ({ why }: { why: string }) => {
        assert.match(why, /^deep\/other\.yml:4: "80:80" would listen outside this machine/)
        return true
      },
    )
  })
})

/** Every path of a value, as keys. */
function pathsIn(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, below]) => pathsIn(below, [...path, key]))]
}

function withChange(value: unknown, [key, ...rest]: readonly string[], changed: unknown): unknown {
  if (key === undefined) return changed
  if (typeof value !== 'object' || value === null) return value
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>
  copy[key] = withChange(copy[key], rest, changed)
  return copy
}
