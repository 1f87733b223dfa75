import assert from 'node:assert/strict'
import { lstat, mkdir, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { parse } from 'yaml'
import { mergeIntoUsers, removeFromUsers } from '../../../lib/cluster/merge-kubeconfig.ts'
import type { Platform } from '../../../lib/platform/platform.ts'
import { usersConfig } from '../../helpers/cluster.ts'
import { examplePlatform } from '../../helpers/platform.ts'

const ours = (key: string) => `apiVersion: v1
kind: Config
clusters: [{ name: kind-macula, cluster: { server: https://127.0.0.1:1, certificate-authority-data: ${key} } }]
contexts: [{ name: kind-macula, context: { cluster: kind-macula, user: kind-macula } }]
users: [{ name: kind-macula, user: { token: ours } }]
current-context: kind-macula
`

describe('the context of our cluster in kubeconfigs of the user’s', () => {
  const path = process.env.PATH
  let folder: string
  let platform: Platform
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-merge-'))
    await mkdir(join(folder, 'bin'))
    await makeCluster('YWJj')
    process.env.PATH = `${join(folder, 'bin')}:${path}`
    const { platform: example } = await examplePlatform()
    platform = { ...example, paths: { ...example.paths, stateDir: join(folder, 'state') } }
  })
  afterEach(async () => {
    process.env.PATH = path
    await rm(folder, { recursive: true })
  })
  const makeCluster = (key: string) =>
    writeFile(join(folder, 'bin', 'kind'), `#!/bin/sh\ncat <<'EOF'\n${ours(key)}EOF\n`, { mode: 0o755 })
  const file = (name: string) => join(folder, name)
  const read = (name: string) => readFile(file(name), 'utf8')
  const merge = (name: string) => mergeIntoUsers(platform, { KUBECONFIG: file(name) })
  const contexts = async (name: string) => parse(await read(name)).contexts.map((each: { name: string }) => each.name)

  it('is added once, brought up to date, and goes byte for byte from every file it was ever merged into', async () => {
    await writeFile(file('one'), usersConfig, { mode: 0o600 })
    assert.equal(await merge('one'), 'updated')
    assert.equal(await merge('one'), 'unchanged')
    assert.deepEqual(await contexts('one'), ['work', 'kind-macula'])
    assert.equal(parse(await read('one'))['current-context'], 'work')
    assert.equal((await stat(file('one'))).mode & 0o777, 0o600)
    assert.equal(await merge('deep/two'), 'created')
    await makeCluster('ZGVm')
    assert.equal(await merge('one'), 'updated')
    assert.match(await read('one'), /ZGVm/)
    assert.equal(await removeFromUsers(platform.paths), 'removed')
    assert.equal(await read('one'), usersConfig)
    await assert.rejects(lstat(file('deep')))
    assert.equal(await removeFromUsers(platform.paths), 'unchanged')
  })

  it('goes alone where the user has changed the file since', async () => {
    await writeFile(file('one'), usersConfig)
    await merge('one')
    await writeFile(
      file('one'),
      `# a note\n${(await read('one')).replace('current-context: work', 'current-context: kind-macula')}`,
    )
    await removeFromUsers(platform.paths)
    assert.match(await read('one'), /^# a note\n/)
    assert.deepEqual(parse(await read('one')), { ...parse(usersConfig), 'current-context': '' })
  })

  it('is forgotten where the user has removed it, or the file, since', async () => {
    for (const name of ['one', 'two']) {
      await writeFile(file(name), usersConfig)
      await merge(name)
    }
    await writeFile(file('one'), `# again\n${usersConfig}`)
    await rm(file('two'))
    await removeFromUsers(platform.paths)
    assert.equal(await read('one'), `# again\n${usersConfig}`)
    await assert.rejects(lstat(file('two')))
    assert.equal(await removeFromUsers(platform.paths), 'unchanged')
  })

  it('leaves a link a link', async () => {
    await writeFile(file('dotfiles'), usersConfig)
    await symlink('dotfiles', file('config'))
    await merge('config')
    assert.equal(await readlink(file('config')), 'dotfiles')
    assert.deepEqual(await contexts('dotfiles'), ['work', 'kind-macula'])
    await removeFromUsers(platform.paths)
    assert.equal(await readlink(file('config')), 'dotfiles')
    assert.equal(await read('dotfiles'), usersConfig)
  })

  it('is not added to a file that is not a kubeconfig, or that kubectl is writing', async () => {
    await writeFile(file('list'), '- mine\n')
    await assert.rejects(merge('list'), /cannot be added to .*list; nothing was changed/)
    assert.equal(await read('list'), '- mine\n')
    await writeFile(file('one'), usersConfig)
    await writeFile(file('one.lock'), '')
    const merged = merge('one')
    setTimeout(() => void rm(file('one.lock')), 300)
    assert.equal(await merged, 'updated')
    await assert.rejects(lstat(file('one.lock')))
  })
})
