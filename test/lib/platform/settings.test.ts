import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  defaultSettings,
  loadSettings,
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
      'MACULA_DOMIAN: is not a setting; .env.example lists them all',
      'REGISTRY_PORT: 99999 should be a port, 1 to 65535',
      'ROUTING: "carrier-pigeon" should be one of auto, systemd, socat, publish',
      'CLUSTER_NAME: "\\"open" should be lower case letters, digits, . and -',
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
      assert.match(problem, /^MACULA_DOMAIN: .* should be a domain of two labels or more/)
    })
  }

  it('say which name was probably meant', async () => {
    assert.deepEqual(await problemsOf('DOMAIN=x.test'), ['DOMAIN: is not a setting; did you mean MACULA_DOMAIN?'])
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

  it('refuse a subnet or loopback address that the platform could not use', async () => {
    assert.equal((await problemsOf('MACULA_SUBNET=172.23.0.0/24\nMACULA_LOOPBACK=10.0.0.1')).length, 2)
    assert.equal((await problemsOf('MACULA_LOOPBACK=127.0.0.250')).length, 1)
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
