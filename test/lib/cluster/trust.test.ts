import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { issue } from '../../../lib/cluster/issue.ts'
import { isOutdated, isTrusted, type TrustStore, trustCa, trustStoreOf } from '../../../lib/cluster/trust.ts'
import { openJournal } from '../../../lib/journal/journal.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { asRoot } from '../../../lib/system/privilege.ts'

describe('the trust in the local CA', {
  skip: userInfo().uid === 0 ? false : 'files of the journal belong to root',
}, () => {
  let folder: string
  let store: TrustStore
  let ca: string
  const before = 'the CAs of this system\n'
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-trust-'))
    const own = join(folder, 'own')
    await mkdir(own)
    store = { file: join(own, 'macula.crt'), command: join(folder, 'update'), bundle: join(folder, 'bundle') }
    // what every system's own program comes to
    const update = `#!/bin/sh\n{ printf '${before}'; cat ${own}/*.crt 2>/dev/null; } >${store.bundle}; echo run >>${folder}/runs\n`
    await writeFile(store.command, update, { mode: 0o755 })
    await writeFile(store.bundle, before)
    const days = { leafDays: 1, caDays: 10, marginDays: 0 }
    ca = (await issue(['a.macula.local'], 'macula.local', { certificate: '', key: '' }, days)).ca.certificate
  })
  afterEach(() => rm(folder, { recursive: true }))

  const journal = (dryRun = false) =>
    openJournal({ stateDir: join(folder, 'state'), privilege: asRoot, scope: 'trust', dryRun })
  const runs = async () => (await readFile(join(folder, 'runs'), 'utf8').catch(() => '')).split('\n').length - 1

  it('is made once, and teardown takes exactly it back', async () => {
    assert.equal(await isTrusted(store, ca), false)
    assert.equal(await trustCa(store, ca, journal()), 'created')
    assert.equal(await isTrusted(store, ca), true)
    assert.equal(await trustCa(store, ca, journal()), 'unchanged')
    assert.equal(await runs(), 1)
    await journal().undo()
    assert.equal(await readFile(store.bundle, 'utf8'), before)
    await assert.rejects(stat(store.file))
  })

  it('is made whole where a run before was broken off between its two halves', async () => {
    await writeFile(store.file, ca)
    assert.equal(await trustCa(store, ca, journal()), 'updated')
    assert.equal(await isTrusted(store, ca), true)
  })

  it('in a CA that was replaced is outdated, and withdrawn by undo; trust in one of somebody else is not ours to withdraw', async () => {
    const days = { leafDays: 1, caDays: 10, marginDays: 0 }
    const { ca: next } = await issue(['a.dev.test'], 'dev.test', { certificate: '', key: '' }, days)
    await writeFile(store.file, 'the CA of somebody else\n')
    assert.equal(await isOutdated(store, next.certificate, journal()), false)
    await rm(store.file)
    await trustCa(store, ca, journal())
    assert.equal(await isOutdated(store, ca, journal()), false)
    assert.equal(await isOutdated(store, next.certificate, journal()), true)
    await journal().undo()
    assert.equal(await isTrusted(store, ca), false)
    assert.equal(await isOutdated(store, next.certificate, journal()), false)
    await trustCa(store, next.certificate, journal())
    assert.equal(await isTrusted(store, next.certificate), true)
  })

  it('is kept in a file that no other installation has', async () => {
    const stores = await Promise.all(['0123', '4567'].map(id => trustStoreOf({ os: 'debian' }, id)))
    if (stores.includes(undefined)) return
    assert.equal(new Set(stores.map(found => found?.file)).size, 2)
    assert.ok(stores.every(found => found?.forget?.at(-1) === found?.file.split('/').at(-1)))
  })

  it('only says in a dry run what it would do', async () => {
    const dry = journal(true)
    await trustCa(store, ca, dry)
    assert.deepEqual(
      dry.planned.map(({ what }) => what),
      [`create ${store.file}`, `run ${store.command}`],
    )
    assert.equal(await isTrusted(store, ca), false)
  })

  it('is an error where the system does not take the CA', async () => {
    await writeFile(store.command, '#!/bin/sh\nexit 0\n')
    await chmod(store.command, 0o755)
    await assert.rejects(trustCa(store, ca, journal()), (error: PlatformError) =>
      /did not add the CA/.test(error.message),
    )
  })

  it('is not for systems whose way we do not know', async () => {
    assert.equal(await trustStoreOf({ os: 'macos' }, 'a'), undefined)
    assert.equal(await trustStoreOf({ os: 'unknown' }, 'a'), undefined)
  })
})
