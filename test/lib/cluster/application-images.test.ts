import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { fingerprintOf, sourcesOf } from '../../../lib/cluster/application-images.ts'
import { clusterOf } from '../../../lib/cluster/cluster.ts'
import { digestOf, requireRegistry, tagInRegistry } from '../../../lib/cluster/image-registry.ts'
import { nodeName } from '../../../lib/cluster/node-images.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { goodPlatform } from '../../helpers/platform.ts'

describe('sources of applications', () => {
  it('are the bundled placeholder where none is named', async () => {
    const sources = await sourcesOf(await goodPlatform())
    assert.deepEqual(
      sources.map(({ application }) => application),
      ['console', 'bootstrap', 'peer1', 'peer2'],
    )
    assert.ok(sources.every(({ folder }) => folder.endsWith('templates/applications/placeholder')))
  })

  it('are refused all at once where a folder or its Dockerfile is missing', async () => {
    const settings = { CONSOLE_SOURCE: '/nowhere/console', PEER1_SOURCE: tmpdir() }
    await assert.rejects(sourcesOf(await goodPlatform({ settings })), (error: PlatformError) => {
      assert.equal(error.exitCode, 2)
      assert.equal(
        error.why,
        `CONSOLE_SOURCE: /nowhere/console does not exist\nPEER1_SOURCE: ${tmpdir()} has no Dockerfile`,
      )
      return true
    })
  })
})

describe('the fingerprint of a source', () => {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-source-'))
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\n')
    await mkdir(join(folder, '.git'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('changes with a file and not with what git does', async () => {
    const before = await fingerprintOf(folder)
    await writeFile(join(folder, '.git', 'index'), 'x')
    assert.equal(await fingerprintOf(folder), before)
    await writeFile(join(folder, 'new.js'), '')
    assert.notEqual(await fingerprintOf(folder), before)
  })
})

describe('the registry', () => {
  let server: Server
  let port = ''
  const digest = `sha256:${'a'.repeat(64)}`
  const tagged: unknown[] = []
  before(async () => {
    server = createServer((request, response) => {
      if (request.url === '/v2/') return response.end('{}')
      if (request.method === 'PUT') {
        let body = ''
        request.on('data', data => (body += data))
        return request.on('end', () => {
          const { url, headers } = request
          tagged.push([url, headers['content-type'], body])
          response.writeHead(url?.endsWith('/full') ? 500 : 201).end('no room')
        })
      }
      const known =
        request.url === '/v2/macula/console/manifests/dev' && request.headers.accept?.includes('oci.image.index')
      const described = { 'docker-content-digest': digest, 'content-type': 'application/vnd.oci.image.index.v1+json' }
      response.writeHead(known ? 200 : 404, known ? described : {}).end(known ? '{"manifests":[]}' : '')
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    port = String((server.address() as AddressInfo).port)
  })
  after(() => server.close())

  it('tells the digest of an image, or that it does not have it', async () => {
    const platform = await goodPlatform({ settings: { REGISTRY_PORT: port } })
    const { imagePrefix } = clusterOf(platform)
    assert.equal(imagePrefix, `localhost:${port}/macula`)
    assert.equal(await digestOf(platform, `${imagePrefix}/console`, 'dev'), digest)
    assert.equal(await digestOf(platform, `${imagePrefix}/console`, 'other'), undefined)
    await requireRegistry(platform)
  })

  it('gives an image a second tag without having it sent again', async () => {
    const platform = await goodPlatform({ settings: { REGISTRY_PORT: port } })
    const repository = `${clusterOf(platform).imagePrefix}/console`
    await tagInRegistry(platform, repository, 'dev', '0123')
    assert.deepEqual(tagged, [
      ['/v2/macula/console/manifests/0123', 'application/vnd.oci.image.index.v1+json', '{"manifests":[]}'],
    ])
    await assert.rejects(
      tagInRegistry(platform, repository, 'dev', 'full'),
      (error: PlatformError) => /refused the tag full .*: status 500$/.test(error.message) && error.why === 'no room',
    )
  })

  it('is missed with its address and what starts it', async () => {
    const platform = await goodPlatform({ settings: { REGISTRY_PORT: '1' } })
    await assert.rejects(
      requireRegistry(platform),
      (error: PlatformError) =>
        error.message === 'The registry does not answer at http://127.0.0.1:1' &&
        /nobody listens/.test(error.why ?? '') &&
        /start-infrastructure/.test(error.hint ?? ''),
    )
  })

  it('has to be named for a cluster elsewhere', async () => {
    const platform = await goodPlatform({ settings: { CLUSTER: 'existing', CLUSTER_CONTEXT: 'big' } })
    await assert.rejects(requireRegistry(platform), (error: PlatformError) => /REGISTRY/.test(error.hint ?? ''))
  })
})

describe('the name of an image on a node', () => {
  it('is the full one, and the digest alone where it is pinned', () => {
    assert.equal(nodeName('traefik:v3'), 'docker.io/library/traefik:v3')
    assert.equal(nodeName('grafana/tempo:3'), 'docker.io/grafana/tempo:3')
    assert.equal(nodeName('localhost:5001/macula/console:dev'), 'localhost:5001/macula/console:dev')
    assert.equal(
      nodeName('registry.k8s.io/ingress-nginx/controller:v1@sha256:12'),
      'registry.k8s.io/ingress-nginx/controller@sha256:12',
    )
    assert.equal(nodeName('traefik:v3.7.11@sha256:12'), 'docker.io/library/traefik@sha256:12')
  })
})
