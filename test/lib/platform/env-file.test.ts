import assert from 'node:assert/strict'
import { chmod, chown, lstat, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse } from 'dotenv'
import {
  exposureOf,
  generateSecret,
  problemWithAnswer,
  readEnvFile,
  writeEnvFile,
} from '../../../lib/platform/env-file.ts'
import { editEnvText } from '../../../lib/platform/env-text.ts'
import { loadSettings, type Paths, secretNames } from '../../../lib/platform/settings.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { redacted } from '../../../lib/system/secrets.ts'
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
    assert.equal(redacted(`wrong: ${values.GRAFANA_PASSWORD}`), 'wrong: ***')
    const again = await readEnvFile(paths)
    assert.deepEqual(again.missing, [])
    assert.equal(await writeEnvFile(paths, again.values), 'unchanged')
  })

  it('that exists changes in the lines that were asked for, and in nothing else', async () => {
    const target = join(paths.envFile, '..', 'kept elsewhere.env')
    const values = Object.fromEntries(secretNames.map(name => [name, generateSecret()]))
    const lines = secretNames.slice(1).map(name => `${name}=${values[name]}`)
    const text = ['# mine', 'PEER1_SOURCE=../peer1', 'PEER2_SOURCE="../peer 2"', ...lines, ''].join('\r\n')
    await writeFile(target, text)
    await chmod(target, 0o640)
    await chown(target, 12345, 54321).catch(() => {})
    const before = await stat(target)
    await rm(paths.envFile)
    await symlink('kept elsewhere.env', paths.envFile)

    assert.deepEqual((await readEnvFile(paths)).missing, [secretNames[0]])
    assert.equal(await writeEnvFile(paths, { GRAFANA_PASSWORD: 'secret' }), 'updated')
    assert.equal(
      await readFile(target, 'utf8'),
      `${text}# Password of Grafana's user admin.\r\nGRAFANA_PASSWORD=secret\r\n`,
    )
    const { mode, uid, gid } = await stat(target)
    assert.deepEqual({ mode, uid, gid }, { mode: before.mode, uid: before.uid, gid: before.gid })
    assert.ok((await lstat(paths.envFile)).isSymbolicLink())
    assert.deepEqual((await readdir(join(target, '..'))).sort(), ['.env', 'kept elsewhere.env'])
  })

  it('that other users can read is warned of, with the command that closes it', async () => {
    assert.match((await exposureOf(paths))?.detail ?? '', /other users of this machine can read it \(mode 0640\)/)
    assert.equal((await exposureOf(paths))?.hint, `chmod 600 ${paths.envFile}`)
    await chmod(paths.envFile, 0o600)
    assert.equal(await exposureOf(paths), undefined)
  })

  it('that is a link to nothing is reported, and not written through', async () => {
    await rm(paths.envFile)
    await symlink('/nowhere/env', paths.envFile)
    await assert.rejects(writeEnvFile(paths, { GRAFANA_PASSWORD: 'secret' }), /is a link to a file that does not exist/)
    await rm(paths.envFile)
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
      assert.equal(
        parse(editEnvText('GRAFANA_PASSWORD=\n', { GRAFANA_PASSWORD: password }, '')).GRAFANA_PASSWORD,
        password,
      )
    })
  }

  it('is refused where it is too short, and the answer says why', async () => {
    assert.equal(problemWithAnswer('MINIO_ROOT_PASSWORD', 'short'), 'should have 8 characters or more')
    assert.equal(
      problemWithAnswer('MINIO_ROOT_PASSWORD', 'long enough'),
      'should have printable ASCII characters only, and no spaces',
    )
    assert.equal(problemWithAnswer('MINIO_ROOT_PASSWORD', `with'quote"s`), undefined)
  })

  it('is generated anew each time, and long', () => {
    assert.notEqual(generateSecret(), generateSecret())
    assert.match(generateSecret(), /^[\w-]{24}$/)
  })
})
