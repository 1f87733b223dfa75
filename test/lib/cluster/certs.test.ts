import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse } from 'yaml'
import { $, within } from 'zx/core'
import {
  certificateFiles,
  certificateNames,
  ensureCertificate,
  isGood,
  tlsManifest,
} from '../../../lib/cluster/certs.ts'
import { issue } from '../../../lib/cluster/issue.ts'
import { permits } from '../../../lib/cluster/name-constraints.ts'
import { root } from '../../../lib/system/checkout.ts'
import { codeOf } from '../../../lib/system/errors.ts'
import { hasTool } from '../../../lib/system/exec.ts'
import { http } from '../../../lib/system/http.ts'
import { examplePaths, goodPlatform } from '../../helpers/platform.ts'

const days = { leafDays: 825, caDays: 3650, marginDays: 30 }
const names = ['*.macula.local', 'macula.local', 'console.macula.local']
const none = { certificate: '', key: '' }

describe('a certificate of the local CA', () => {
  it('is good for the names it was issued for, and for no others', async () => {
    const made = await issue(names, 'macula.local', none, days)
    const isGoodFor = (wanted: string[]) => isGood(made, made.ca.certificate, wanted, 'macula.local')
    assert.equal(await isGoodFor(names), true)
    assert.equal(await isGoodFor([...names, 'shop.macula.local']), false)
  })

  it('is not good for another CA, near its end, or when it is nonsense', async () => {
    const made = await issue(names, 'macula.local', none, days)
    const other = await issue(names, 'macula.local', none, days)
    const later = Date.now() + 800 * 24 * 3600e3
    assert.equal(await isGood(made, other.ca.certificate, names, 'macula.local'), false)
    assert.equal(await isGood(made, made.ca.certificate, names, 'macula.local', later), false)
    assert.equal(await isGood({ ...made, certificate: 'nonsense' }, made.ca.certificate, names, 'macula.local'), false)
  })

  it('is not good with a key that does not belong to it, or without one', async () => {
    const made = await issue(names, 'macula.local', none, days)
    const other = await issue(names, 'macula.local', none, days)
    assert.equal(await isGood({ ...made, key: other.key }, made.ca.certificate, names, 'macula.local'), false)
    assert.equal(await isGood({ ...made, key: '' }, made.ca.certificate, names, 'macula.local'), false)
  })

  it('is not good for names outside the domain of its CA, which no client accepts', async () => {
    const { ca } = await issue(names, 'macula.local', none, days)
    const key = await issue(['console.dev.test'], 'dev.test', none, days)
    assert.equal(permits(new X509Certificate(ca.certificate).raw, 'macula.local'), true)
    assert.equal(permits(new X509Certificate(ca.certificate).raw, 'dev.test'), false)
    // one that ends with the other is another domain
    assert.equal(permits(new X509Certificate(ca.certificate).raw, 'local'), false)
    assert.equal(await isGood(key, key.ca.certificate, ['console.dev.test'], 'macula.local'), false)
  })

  it('comes from a new CA where the domain has changed, or where the key of the CA is another', async () => {
    const first = await issue(names, 'macula.local', none, days)
    const moved = await issue(['console.dev.test'], 'dev.test', first.ca, days)
    assert.notEqual(moved.ca.certificate, first.ca.certificate)
    const other = await issue(names, 'macula.local', none, days)
    const mixed = await issue(names, 'macula.local', { ...first.ca, key: other.ca.key }, days)
    assert.notEqual(mixed.ca.certificate, first.ca.certificate)
    assert.equal(await isGood(mixed, mixed.ca.certificate, names, 'macula.local'), true)
  })

  it('comes from the same CA the next time', async () => {
    const first = await issue(names, 'macula.local', none, days)
    const second = await issue([...names, 'shop.macula.local'], 'macula.local', first.ca, days)
    assert.deepEqual(second.ca, first.ca)
    assert.equal(
      new X509Certificate(second.certificate).verify(new X509Certificate(first.ca.certificate).publicKey),
      true,
    )
  })

  const servers: { close(): void }[] = []
  after(() => {
    for (const server of servers) server.close()
  })

  it('is accepted by a TLS client for its domain, and no certificate of the CA is accepted for any other', async () => {
    const request = async (host: string, pem: Awaited<ReturnType<typeof issue>>) => {
      const server = createServer({ cert: pem.certificate, key: pem.key }, (_, response) => response.end('hello'))
      servers.push(server)
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      return http(`https://${host}/`, { ip: '127.0.0.1', port, ca: pem.ca.certificate })
    }
    const own = await issue(names, 'macula.local', none, days)
    const { status, body } = await request('console.macula.local', own)
    assert.deepEqual({ status, body }, { status: 200, body: 'hello' })
    const foreign = await issue(['www.example.com'], 'macula.local', own.ca, days)
    assert.deepEqual(foreign.ca, own.ca)
    await assert.rejects(request('www.example.com', foreign), (error: Error) => {
      assert.match(`${error.message} ${codeOf(error)}`, /subtree|PERMITTED/i)
      return true
    })
  })
})

describe('the secret of the certificate', () => {
  it('is the same from deploy-ingress, which renews it, as from deploy-apps', async () => {
    const { metadata } = JSON.parse(tlsManifest('macula', none))
    const { labels } = parse(await readFile(join(root, 'templates/apps/_common/kustomization.yaml'), 'utf8'))
    assert.deepEqual(metadata.labels, labels[0].pairs)
  })
})

describe('ensureCertificate', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-certs-'))
  })
  after(() => rm(folder, { recursive: true }))

  it('makes one that only its owner can use, and keeps it', async context => {
    if (await hasTool('mkcert')) return context.skip('mkcert is installed, and would make its own CA')
    const platform = await goodPlatform({ paths: examplePaths(folder) })
    const first = await ensureCertificate(platform)
    assert.equal(first.outcome, 'created')
    const files = certificateFiles(platform)
    for (const file of [files.key, files.caKey]) assert.equal((await stat(file)).mode & 0o777, 0o600)
    const second = await ensureCertificate(platform)
    assert.equal(second.outcome, 'unchanged')
    assert.equal(second.certificate.certificate, first.certificate.certificate)
    assert.ok(certificateNames(platform).includes('console.macula.local'))
  })

  it('is renewed, with its CA, for another domain', async context => {
    if (await hasTool('mkcert')) return context.skip('mkcert is installed, and would issue it from its own CA')
    const platform = (domain: string) =>
      goodPlatform({ paths: examplePaths(folder), settings: { MACULA_DOMAIN: domain } })
    await ensureCertificate(await platform('macula.local'))
    const moved = await ensureCertificate(await platform('dev.test'))
    assert.equal(moved.outcome, 'created')
    const ca = await readFile(moved.certificate.caFile, 'utf8')
    assert.equal(await isGood(moved.certificate, ca, ['*.dev.test', 'console.dev.test'], 'dev.test'), true)
    assert.equal((await ensureCertificate(await platform('dev.test'))).outcome, 'unchanged')
    assert.equal((await ensureCertificate(await platform('macula.local'))).outcome, 'created')
  })

  it("lets mkcert make it where that is installed, and keeps mkcert's CA beside it", async () => {
    const platform = await goodPlatform({ paths: examplePaths(folder) })
    const files = certificateFiles(platform)
    const made = await issue(names, 'macula.local', none, days)
    const all = await issue(certificateNames(platform), 'macula.local', made.ca, days)
    await mkdir(join(folder, 'caroot'), { recursive: true })
    await mkdir(join(folder, 'bin'), { recursive: true })
    for (const [name, text] of Object.entries({ leaf: all.certificate, key: all.key, ca: made.ca.certificate }))
      await writeFile(join(folder, name), text)
    // makes its CA at its first certificate, as mkcert does
    const script = `#!/bin/sh
case $1 in
  -CAROOT) echo ${folder}/caroot ;;
  -cert-file) cp ${folder}/leaf "$2"; cp ${folder}/key "$4"; cp ${folder}/ca ${folder}/caroot/rootCA.pem; echo "$*" >>${folder}/said ;;
esac`
    await writeFile(join(folder, 'bin', 'mkcert'), script, { mode: 0o755 })
    await within(async () => {
      $.env = { ...$.env, PATH: `${join(folder, 'bin')}:${$.env.PATH}` }
      const first = await ensureCertificate(platform)
      assert.deepEqual([first.outcome, first.certificate.mkcert], ['created', true])
      assert.equal(await readFile(first.certificate.caFile, 'utf8'), made.ca.certificate)
      assert.match(await readFile(join(folder, 'said'), 'utf8'), / \*\.macula\.local .* console\.macula\.local/)
      await assert.rejects(stat(files.caKey))
      assert.equal((await ensureCertificate(platform)).outcome, 'unchanged')
    })
    // mkcert gone again: its certificate stays good
    if (!(await hasTool('mkcert'))) assert.equal((await ensureCertificate(platform)).outcome, 'unchanged')
  })
})
