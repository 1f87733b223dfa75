import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { $, within } from 'zx/core'
import { ensureTools, lackingTools } from '../../../lib/cluster/tools.ts'
import type { Settings } from '../../../lib/platform/settings.ts'
import { type InstallOptions, releases } from '../../../lib/supply/releases.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { examplePaths, exampleSettings } from '../../helpers/platform.ts'

const kind = '#!/bin/sh\necho 0.33.0\n'
const kubectl = `#!/bin/sh
case "$*" in *json*) echo '{"clientVersion":{"gitVersion":"v1.35.8"}}' ;; *) echo 'Client Version: v1.35.8' ;; esac
`

describe('kind and kubectl', () => {
  let folder: string
  const asked: string[] = []
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-tools-'))
    await mkdir(join(folder, 'path'))
    asked.length = 0
  })
  afterEach(() => rm(folder, { recursive: true }))

  const bin = (name = '') => join(folder, '.macula', 'bin', name)
  const onPath = (name: string, script: string) => writeFile(join(folder, 'path', name), script, { mode: 0o755 })
  /** As a task is run: our folder before the machine's own, which has nothing but what the test puts there. */
  const ensure = async (settings: Partial<Settings>, options: InstallOptions = {}) => {
    const platform = { settings: await exampleSettings(settings), paths: examplePaths(folder) }
    return within(async () => {
      $.env = { ...$.env, PATH: `${bin()}:${join(folder, 'path')}` }
      return ensureTools(platform, options)
    })
  }
  const serve =
    (programs: Record<string, string>): NonNullable<InstallOptions['download']> =>
    async (url, file) => {
      asked.push(url)
      const text = programs[url.includes('kubectl') ? 'kubectl' : 'kind']
      if (text === undefined) throw new PlatformError(`${url} answers 404`)
      await writeFile(file, text)
    }
  /** A machine whose published programs are the ones of this test. */
  const published = (programs: Record<string, string>): InstallOptions => {
    for (const name of ['kind', 'kubectl'] as const)
      Object.assign(releases[name].sha256, {
        'test-machine': createHash('sha256')
          .update(programs[name] ?? '')
          .digest('hex'),
      })
    return { download: serve(programs), os: 'test', architecture: 'machine' }
  }

  it('are those on PATH where the settings leave it at that, and nothing is fetched', async () => {
    await onPath('kind', kind)
    await onPath('kubectl', kubectl)
    assert.equal(await ensure({ CLUSTER_TOOLS: 'path' }, published({})), 'unchanged')
    assert.deepEqual(asked, [])
  })

  it('are installed into a folder of ours, once, and found there before those on PATH', async () => {
    await onPath('kind', '#!/bin/sh\necho 0.20.0\n')
    await onPath('kubectl', kubectl)
    const options = published({ kind, kubectl })
    assert.equal(await ensure({ CLUSTER_TOOLS: 'install' }, options), 'created')
    assert.deepEqual((await readdir(bin())).sort(), ['kind', 'kubectl'])
    assert.equal((await stat(bin('kind'))).mode & 0o111, 0o111)
    assert.deepEqual(asked.sort(), [
      'https://dl.k8s.io/release/v1.35.8/bin/test/machine/kubectl',
      'https://kind.sigs.k8s.io/dl/v0.33.0/kind-test-machine',
    ])
    assert.equal(await ensure({ CLUSTER_TOOLS: 'install' }, options), 'unchanged')
    assert.equal(asked.length, 2)
  })

  it('are replaced where they are of another version, and removed where the settings go back to PATH', async () => {
    await onPath('kind', kind)
    await onPath('kubectl', kubectl)
    await mkdir(bin(), { recursive: true })
    await writeFile(bin('kind'), '#!/bin/sh\necho 0.31.0\n', { mode: 0o755 })
    assert.equal(await ensure({ CLUSTER_TOOLS: 'install' }, published({ kind, kubectl })), 'updated')
    assert.equal(await readFile(bin('kind'), 'utf8'), kind)
    assert.equal(await ensure({ CLUSTER_TOOLS: 'path' }), 'removed')
    await assert.rejects(stat(bin()))
  })

  it('are thrown away where they are not what their authors published', async () => {
    const options = { ...published({ kind, kubectl }), download: serve({ kind: `${kind}# and more\n`, kubectl }) }
    await assert.rejects(
      ensure({ CLUSTER_TOOLS: 'install' }, options),
      (error: PlatformError) =>
        /sent is not kind 0\.33\.0/.test(error.message) && /SHA-256/.test(error.why ?? '') && error.exitCode === 1,
    )
    await assert.rejects(stat(bin('kind')))
    assert.ok(!(await readdir(bin())).some(name => name.startsWith('kind')))
  })

  it('are compiled with Go where their hosts are out of reach, and without Go named with what to do', async () => {
    const unreachable = { ...published({ kind, kubectl }), download: async () => Promise.reject(new Error('no route')) }
    await onPath('kubectl', kubectl)
    await onPath('go', '#!/bin/sh\nexit 1\n')
    await assert.rejects(
      ensure({ CLUSTER_TOOLS: 'install' }, unreachable),
      (error: PlatformError) =>
        /could not be installed/.test(error.message) &&
        /no route\nThere is no Go/.test(error.why ?? '') &&
        /CLUSTER_TOOLS=path/.test(error.hint ?? ''),
    )
  })

  it('are not both needed for a cluster elsewhere', async () => {
    await onPath('kubectl', kubectl)
    assert.equal(await ensure({ CLUSTER: 'existing', CLUSTER_CONTEXT: 'big' }), 'unchanged')
    await assert.rejects(ensure({}), (error: PlatformError) => /CLUSTER_TOOLS=install/.test(error.hint ?? ''))
  })

  it('are named where they are missing or too old', async () => {
    await onPath('kind', '#!/bin/sh\necho 0.27.0\n')
    const lacking = await within(async () => {
      $.env = { ...$.env, PATH: join(folder, 'path') }
      return lackingTools('kindest/node:v1.37.0')
    })
    assert.deepEqual(lacking, [
      'kind 0.27.0 is too old for kindest/node:v1.37.0',
      'kubectl is not installed; the cluster needs it',
    ])
  })
})
