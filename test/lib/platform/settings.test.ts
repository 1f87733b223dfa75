import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  defaultSettings,
  loadSettings,
  pathsOf,
  readSettings,
  secretNames,
  settingNames,
} from '../../../lib/platform/settings.ts'
import { root } from '../../../lib/system/checkout.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { examplePaths, exampleSettings } from '../../helpers/platform.ts'

const complete = secretNames.map(name => `${name}=long-enough-for-every-secret`).join('\n')

async function problemsOf(text: string, environment: NodeJS.ProcessEnv = {}) {
  const { problems } = readSettings(`${complete}\n${text}`, await defaultSettings(), environment)
  return problems.map(({ where, what }) => `${where}: ${what}`)
}

it('takes whole numbers of days and gigabytes within bounds, and nothing else', async () => {
  for (const good of ['1', '30', '3650'])
    assert.deepEqual(await problemsOf(`METRICS_DAYS=${good}\nLOGS_DAYS=${good}`), [])
  for (const bad of ['0', '-1', '1.5', '30d', '03', '3651', '1e3'])
    for (const key of ['METRICS_DAYS', 'LOGS_DAYS', 'TRACES_DAYS'])
      assert.match((await problemsOf(`${key}=${bad}`)).join(), /should be a whole number, 1 to 3650/, `${key}=${bad}`)
  assert.match((await problemsOf('METRICS_GB=4GB')).join(), /should be a whole number, 1 to 10000/)
})

describe('.env.example', () => {
  it('names exactly the settings that are known', async () => {
    assert.deepEqual(Object.keys(await defaultSettings()).sort(), [...settingNames].sort())
  })

  it('has a comment above every setting or group of settings', async () => {
    const lines = (await readFile(join(root, '.env.example'), 'utf8')).split('\n')
    const bare = lines.filter((line, index) => /^[A-Z]/.test(line) && !/^(#|[A-Z])/.test(lines[index - 1] ?? ''))
    assert.deepEqual(bare, [])
  })

  it('holds no password', async () => {
    const defaults = await defaultSettings()
    assert.deepEqual(
      secretNames.filter(name => defaults[name] !== ''),
      [],
    )
  })

  it('has defaults that pass their own checks', async () => {
    assert.deepEqual(await problemsOf(''), [])
  })
})

describe('settings', () => {
  it('come from the environment before the file, and from the file before the defaults', async () => {
    const defaults = await defaultSettings()
    const { values } = readSettings('MACULA_DOMAIN=file.test\nREGISTRY_PORT=5002', defaults, {
      MACULA_DOMAIN: 'env.test',
    })
    assert.equal(values.MACULA_DOMAIN, 'env.test')
    assert.equal(values.REGISTRY_PORT, '5002')
    assert.equal(values.CLUSTER_NAME, defaults.CLUSTER_NAME)
  })

  it('are reported all at once: syntax, unknown keys, wrong values', async () => {
    const problems = await problemsOf(
      'this is no setting\nMACULA_DOMIAN=x\nREGISTRY_PORT=99999\nROUTING=carrier-pigeon\nCLUSTER_NAME="open',
    )
    assert.deepEqual(problems, [
      `line ${secretNames.length + 1}: should read NAME=value`,
      `line ${secretNames.length + 5}: opens a quote (") and does not close it`,
      `line ${secretNames.length + 2}, MACULA_DOMIAN: is not a setting; .env.example lists them all`,
      `line ${secretNames.length + 3}, REGISTRY_PORT: 99999 should be a port, 1 to 65535`,
      `line ${secretNames.length + 4}, ROUTING: "carrier-pigeon" should be one of auto, systemd, socat, publish`,
    ])
  })

  for (const domain of [
    'mac ula.local',
    "macula.local'",
    'macula"local.x',
    'macula',
    'Macula.local',
    '-a.local',
    '$(id).local',
  ]) {
    it(`refuse ${domain} as a domain`, async () => {
      const [problem = ''] = await problemsOf(`MACULA_DOMAIN=\`${domain}\``)
      assert.match(problem, /^line 9, MACULA_DOMAIN: .* should be a domain of two labels or more/)
    })
  }

  it('say which name was probably meant', async () => {
    assert.deepEqual(await problemsOf('DOMAIN=x.test'), [
      'line 9, DOMAIN: is not a setting; did you mean MACULA_DOMAIN?',
    ])
  })

  it('know a source for an application of any name, whether or not there is such an application', async () => {
    const { values } = readSettings('SHOP_SOURCE=../shop\n', await defaultSettings(), { MY_CART_SOURCE: '/src/cart' })
    assert.equal(values.SHOP_SOURCE, '../shop')
    assert.equal(values.MY_CART_SOURCE, '/src/cart')
    assert.deepEqual(await problemsOf('SHOP_SOURCE=../shop\n'), [])
  })

  it('never show a secret in a problem', async () => {
    const [problem = ''] = await problemsOf('', { GRAFANA_PASSWORD: 'oh no' })
    assert.match(problem, /^GRAFANA_PASSWORD \(environment\)/)
    assert.doesNotMatch(problem, /oh no/)
  })

  it('refuse a secret that the configuration it goes to could not hold', async () => {
    assert.match(
      (await problemsOf('', { PDNS_DB_PASSWORD: 'long-enough\\' })).join(),
      /should not end with a backslash/,
    )
    assert.deepEqual(await problemsOf('', { POSTGRES_PASSWORD: 'long-enough\\' }), [])
  })

  it('take keys that every object has for what they are: unknown', async () => {
    assert.deepEqual(await problemsOf('constructor=x\n__proto__=y\ntoString=z'), [
      'line 9, constructor: is not a setting; .env.example lists them all',
      'line 10, __proto__: is not a setting; .env.example lists them all',
      'line 11, toString: is not a setting; .env.example lists them all',
    ])
  })

  it('of the file stay where an exported variable is empty', async () => {
    const { values, problems } = readSettings(`${complete}\nREGISTRY_PORT=5002`, await defaultSettings(), {
      REGISTRY_PORT: '',
      GRAFANA_PASSWORD: '',
    })
    assert.deepEqual(problems, [])
    assert.equal(values.REGISTRY_PORT, '5002')
    assert.equal(values.GRAFANA_PASSWORD, 'long-enough-for-every-secret')
  })

  for (const [setting, wrong, expected] of [
    [
      'MACULA_SUBNET',
      ['127.0.0.0/16', '8.8.0.0/16', '224.0.0.0/16', '0.0.0.0/16', '169.254.0.0/16'],
      /a private network/,
    ],
    ['MACULA_SUBNET', ['01.02.0.0/16', '10.1.2.0/16', '10.1.0.0', 'fd00::/16', '10.0.0/16'], /of the form 172\.23/],
    ['MACULA_LOOPBACK', ['127.999.0.1', '127.0.0.0', '127.0.0.248', '10.0.0.1', '::1', '127.1'], /ends in 1 to 247/],
    ['MACULA_DOMAIN', ['127.0.0.1', 'macula.42'], /not a number/],
    [
      'MACULA_DOMAIN',
      ['in-addr.arpa', '1.in-addr.arpa', 'cluster.local', 'svc.cluster.local', 'a.localhost'],
      /should not be in/,
    ],
    ['MACULA_PROJECT', ['Macula', '-a', 'a_b', 'a'.repeat(32)], /lower case letters/],
  ] as const)
    for (const value of wrong)
      it(`refuse ${setting}=${value}`, async () => {
        const [problem = '', ...more] = await problemsOf(`${setting}=${value}`)
        assert.match(problem, new RegExp(`^line 9, ${setting}: `))
        assert.match(problem, expected)
        assert.deepEqual(more, [])
      })

  it('take every private network, and domains beside the reserved ones', async () => {
    for (const line of ['MACULA_SUBNET=10.0.0.0/16', 'MACULA_SUBNET=192.168.0.0/16', 'MACULA_SUBNET=100.64.0.0/16'])
      assert.deepEqual(await problemsOf(line), [])
    for (const domain of ['home.arpa', 'x.home.arpa', 'mycluster.local', 'dev.test'])
      assert.deepEqual(await problemsOf(`MACULA_DOMAIN=${domain}`), [])
  })

  it('refuse one port for two of them', async () => {
    assert.deepEqual(await problemsOf('REGISTRY_PORT=8080'), [
      'line 9, REGISTRY_PORT: 8080 is INGRESS_HTTP_PORT already; both listen on 127.0.0.1',
    ])
    for (const port of [80, 53, 5300])
      assert.match(
        (await problemsOf(`REGISTRY_PORT=${port}`)).join(),
        /^line 9, REGISTRY_PORT: \d+ is .*'s port already/,
      )
    assert.match((await problemsOf('REGISTRY_PORT=05001'))[0] ?? '', /should be a port/)
  })

  it('refuse a subnet or loopback address that the platform could not use', async () => {
    assert.equal((await problemsOf('MACULA_SUBNET=172.23.0.0/24\nMACULA_LOOPBACK=10.0.0.1')).length, 2)
    assert.equal((await problemsOf('MACULA_LOOPBACK=127.0.0.250')).length, 1)
  })

  it('name paths relative to the checkout, wherever a task is run from', () => {
    const { envFile, stateDir } = pathsOf({ MACULA_ENV_FILE: 'own.env', MACULA_STATE_DIR: '../state' })
    assert.equal(envFile, join(root, 'own.env'))
    assert.equal(stateDir, join(root, '../state'))
    assert.equal(pathsOf({ MACULA_ENV_FILE: '/etc/own.env' }).envFile, '/etc/own.env')
  })

  it('need a context for a cluster that exists already', async () => {
    assert.deepEqual(await problemsOf('CLUSTER=existing'), ['CLUSTER_CONTEXT: is needed for CLUSTER=existing'])
  })

  it('that lack every secret end in one error that says what to run', async () => {
    const error = await loadSettings(examplePaths('/nowhere'), {}).catch(error => error)
    assert.ok(error instanceof PlatformError)
    assert.equal(error.exitCode, 2)
    assert.equal(error.hint, 'task configure')
    for (const name of secretNames) assert.match(error.why ?? '', new RegExp(`${name}: is not set`))
  })
})

it('the made-up settings of these tests are good ones', async () => {
  const text = Object.entries(await exampleSettings())
    .map(([name, value]) => `${name}=${value}`)
    .join('\n')
  assert.deepEqual(readSettings(text, await defaultSettings(), {}).problems, [])
})
