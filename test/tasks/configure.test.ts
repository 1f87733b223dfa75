import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { parse } from 'dotenv'
import { secretNames } from '../../lib/platform/settings.ts'
import { root } from '../../lib/system/checkout.ts'

describe('configure', () => {
  let folder = ''
  let envFile = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-configure-'))
    envFile = join(folder, '.env')
  })
  afterEach(() => rm(folder, { recursive: true }))

  function configure(umask = '022') {
    const command = `umask ${umask}; exec ${process.execPath} ${join(root, 'lib/cli/launch.mjs')} configure --yes`
    const env = {
      PATH: process.env.PATH,
      HOME: folder,
      MACULA_ENV_FILE: envFile,
      MACULA_STATE_DIR: join(folder, 'state'),
    }
    const { status, stderr } = spawnSync('sh', ['-c', command], { cwd: folder, encoding: 'utf8', env })
    assert.equal(status, 0, stderr)
    return stderr
  }

  for (const umask of ['000', '022', '077'])
    it(`creates the file with every secret and mode 0600 under umask ${umask}, then leaves it alone`, async () => {
      configure(umask)
      const text = await readFile(envFile, 'utf8')
      for (const name of secretNames) assert.match(parse(text)[name] ?? '', /^[\w-]{24}$/)
      assert.equal((await stat(envFile)).mode & 0o777, 0o600)
      configure()
      assert.equal(await readFile(envFile, 'utf8'), text)
    })

  it('adds the secrets that an existing file lacks, keeps the rest of it, and warns of its mode', async () => {
    const mine = "# mine\nPEER1_SOURCE=../peer1\n\nPEER2_SOURCE='../peer 2' # and why\nGRAFANA_PASSWORD = \"it's-me\"\n"
    await writeFile(envFile, mine)
    await chmod(envFile, 0o644)
    const stderr = configure()
    const text = await readFile(envFile, 'utf8')
    assert.ok(text.startsWith(mine), text)
    const { PEER1_SOURCE, PEER2_SOURCE, GRAFANA_PASSWORD, ...added } = parse(text)
    assert.deepEqual([PEER1_SOURCE, PEER2_SOURCE, GRAFANA_PASSWORD], ['../peer1', '../peer 2', "it's-me"])
    assert.deepEqual(Object.keys(added).sort(), secretNames.filter(name => name !== 'GRAFANA_PASSWORD').sort())
    assert.ok(stderr.includes(`chmod 600 ${envFile}`), stderr)
  })
})
