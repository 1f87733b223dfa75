import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse } from 'dotenv'
import { envText, generateSecret, problemWith, readEnvFile, writeEnvFile } from '../../../lib/platform/env-file.ts'
import { loadSettings, type Paths, secretNames } from '../../../lib/platform/settings.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { examplePaths } from '../../helpers/platform.ts'

describe('the settings file', () => {
  let paths: Paths
  before(async () => {
    paths = examplePaths(await mkdtemp(join(tmpdir(), 'macula-test-')))
  })
  after(() => rm(join(paths.envFile, '..'), { recursive: true }))

  it('lacks every secret at first', async () => assert.deepEqual((await readEnvFile(paths)).missing, secretNames))

  it('is written with mode 0600, keeps the comments, and is then complete', async () => {
    const values = Object.fromEntries(secretNames.map(name => [name, generateSecret()]))
    assert.equal(await writeEnvFile(paths, values), 'created')
    assert.equal((await stat(paths.envFile)).mode & 0o777, 0o600)
    assert.match(await readFile(paths.envFile, 'utf8'), /^# Password of Grafana's user admin\.\nGRAFANA_PASSWORD=./m)
    assert.equal((await loadSettings(paths, {})).GRAFANA_PASSWORD, values.GRAFANA_PASSWORD)
    const again = await readEnvFile(paths)
    assert.deepEqual(again.missing, [])
    assert.equal(await writeEnvFile(paths, again.values), 'unchanged')
  })

  it('with a mistake in it is reported, not written over', async () => {
    await writeFile(paths.envFile, 'GRAFANA_PASSWORD\n')
    const error = await readEnvFile(paths).catch(error => error)
    assert.ok(error instanceof PlatformError)
    assert.equal(error.exitCode, 2)
    assert.equal(error.why, 'line 1: should read NAME=value')
  })
})

describe('a password', () => {
  for (const password of [`it's`, 'a"b', '#hash', 'a=b+c/d==', '`tick`', '$HOME', 'back\\slash', '\\n']) {
    it(`survives the file: ${password}`, () => {
      assert.equal(parse(envText('GRAFANA_PASSWORD=\n', { GRAFANA_PASSWORD: password })).GRAFANA_PASSWORD, password)
    })
  }

  it('is refused where it is too short, and the answer says why', async () => {
    assert.equal(await problemWith('MINIO_ROOT_PASSWORD', 'short'), 'should have 8 characters or more')
    assert.equal(
      await problemWith('MINIO_ROOT_PASSWORD', 'long enough'),
      'should have printable ASCII characters only, and no spaces',
    )
    assert.equal(await problemWith('MINIO_ROOT_PASSWORD', `with'quote"s`), undefined)
  })

  it('is generated anew each time, and long', () => {
    assert.notEqual(generateSecret(), generateSecret())
    assert.match(generateSecret(), /^[\w-]{24}$/)
  })
})
