import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { within, $ as zx } from 'zx/core'
import {
  BuildSteps,
  deployableImages,
  fingerprintOf,
  sourcesOf,
  unusedSources,
} from '../../../lib/cluster/application-images.ts'
import { buildAll } from '../../../lib/cluster/build.ts'
import { clusterOf } from '../../../lib/cluster/cluster.ts'
import { digestOf, requireRegistry, tagInRegistry } from '../../../lib/cluster/image-registry.ts'
import { nodeName } from '../../../lib/cluster/node-images.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { examplePaths, goodPlatform } from '../../helpers/platform.ts'

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

describe('a source in .env that belongs to no application', () => {
  it('is named, whether it is left over or misspelt', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'macula-unused-'))
    const paths = examplePaths(folder)
    await writeFile(paths.envFile, 'CONSOLE_SOURCE=/a\nSHOP_SOURCE=/b\nCONSOL_SOURCE=/c\nOLD_SOURCE=\n')
    assert.deepEqual(await unusedSources(await goodPlatform({ paths })), ['SHOP_SOURCE', 'CONSOL_SOURCE'])
    await rm(folder, { recursive: true })
  })
})

describe('steps of a build', () => {
  const silentAfter = (...lines: string[]) => {
    const steps = new BuildSteps()
    for (const line of lines) steps.read(line)
    return steps.isSilent()
  }

  it('may say nothing while one of them runs, copies or exports', () => {
    assert.ok(
      silentAfter('#8 [build 4/6] RUN cargo build --release', '#9 [internal] load build context', '#9 DONE 0.1s'),
    )
    assert.ok(silentAfter('#8 [4/6] COPY . .'))
    assert.ok(silentAfter('#8 [4/6] RUN make', '#8 DONE 2.0s', '#12 exporting to image', '#12 exporting layers'))
  })

  it('have to tell of their progress while all of them load', () => {
    assert.ok(!silentAfter())
    assert.ok(
      !silentAfter('#1 [internal] load build definition from Dockerfile', '#2 [internal] load metadata for a:1'),
    )
    assert.ok(!silentAfter('#5 [1/6] FROM docker.io/library/node:22', '#5 sha256:ab 10.49MB / 50.1MB 5.0s'))
    assert.ok(!silentAfter('#8 [build 4/6] RUN make', '#8 CACHED'))
    assert.ok(!silentAfter('#8 [build 4/6] RUN make', '#8 0.5 cc -c a.c', '#8 ERROR: process "make" did not complete'))
  })
})

describe('images that are to be deployed', () => {
  let folder = ''
  let server: Server
  let port = ''
  /** What the registry has: `console` by tag or digest. */
  const held = new Set<string>()
  const digest = (letter: string) => `sha256:${letter.repeat(64)}`
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-images-'))
    server = createServer((request, response) => {
      const [, name = '', reference = ''] = /^\/v2\/macula\/(.+)\/manifests\/(.+)$/.exec(request.url ?? '') ?? []
      if (request.method === 'PUT') {
        held.add(`${name} ${reference}`)
        return response.writeHead(201).end()
      }
      const known = held.has(`${name} ${reference}`)
      response.writeHead(known ? 200 : 404, known ? { 'docker-content-digest': digest('a') } : {}).end()
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    port = String((server.address() as AddressInfo).port)
  })
  after(async () => {
    server.close()
    await rm(folder, { recursive: true })
  })

  /** Looks for the images with a docker whose image has that id; `pushed` is called for each push. */
  async function look(localId: string) {
    const applications = { loopback: '127.0.0.2', names: ['console.macula.local'] }
    const platform = {
      ...(await goodPlatform({ paths: examplePaths(folder), settings: { REGISTRY_PORT: port } })),
      applications,
    }
    const repository = `localhost:${port}/macula/console`
    const record = { application: 'console', repository, tag: '0123456789abcdef', digest: digest('a') }
    const file = join(platform.paths.stateDir, 'cluster', 'images', 'console.json')
    await mkdir(join(file, '..'), { recursive: true })
    await writeFile(file, JSON.stringify(record))
    const script = `#!/bin/sh
case "$*" in
  'image inspect'*) echo sha256:${localId} ;;
  'compose --progress json --file - push') cat >>${folder}/pushes; echo >>${folder}/pushes ;;
esac`
    await writeFile(join(folder, 'docker'), script, { mode: 0o755 })
    return within(async () => {
      zx.env = { ...zx.env, PATH: `${folder}:${zx.env.PATH}` }
      return deployableImages(platform)
    })
  }
  const pushes = async () =>
    (await readFile(join(folder, 'pushes'), 'utf8').catch(() => '')).split('\n').filter(Boolean)

  it('are taken as they were pushed where the registry has them', async () => {
    held.add(`console ${digest('a')}`)
    const { outcome, images } = await look('0123456789abcdef')
    assert.deepEqual([outcome, images.map(image => image.digest), await pushes()], ['unchanged', [digest('a')], []])
  })

  it('are pushed again where the registry has lost them and the engine has not', async () => {
    held.clear()
    assert.equal((await look('0123456789abcdef0000')).outcome, 'updated')
    assert.deepEqual(
      (await pushes()).map(line => JSON.parse(line).services.image.image),
      [`localhost:${port}/macula/console:dev`],
    )
    assert.ok(held.has('console 0123456789abcdef'))
  })

  it('are named where neither has them any more', async () => {
    held.clear()
    await assert.rejects(look('ffff'), (error: PlatformError) => {
      assert.match(error.message, /^Neither the registry nor the engine has the image of console any more$/)
      assert.equal(error.hint, 'task build-and-push')
      return true
    })
  })
})

describe('applications with the same source', () => {
  let folder = ''
  let server: Server
  let port = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-same-source-'))
    // the registry has every image once it was pushed, under the digest of its last tag
    const digest = `sha256:${'a'.repeat(64)}`
    server = createServer(async (request, response) => {
      const [, name = ''] = /^\/v2\/(.+)\/manifests\//.exec(request.url ?? '') ?? []
      if (request.method === 'PUT') return response.writeHead(201).end()
      const isHeld = (await calls()).some(call => call === `pushed localhost:${port}/${name}:dev`)
      response.writeHead(isHeld ? 200 : 404, { 'docker-content-digest': digest }).end()
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    port = String((server.address() as AddressInfo).port)
  })
  beforeEach(async () => {
    await rm(join(folder, 'calls'), { force: true })
    await rm(join(folder, 'state'), { recursive: true, force: true })
  })
  after(async () => {
    server.close()
    await rm(folder, { recursive: true })
  })

  const calls = async () =>
    (await readFile(join(folder, 'calls'), 'utf8').catch(() => '')).split('\n').filter(line => line !== '')
  /** Builds the bundled applications with a docker that gives each build another id, as one does that runs beside another. */
  const build = async (exitCode = 0) => {
    const paths = examplePaths(folder)
    const platform = await goodPlatform({
      paths: { ...paths, stateDir: join(folder, 'state') },
      settings: { REGISTRY_PORT: port },
    })
    const script = `#!/bin/sh
echo "$*" >>${folder}/calls
[ "$1" = compose ] && echo "pushed $(sed 's/.*"image":"\\([^"]*\\)".*/\\1/')" >>${folder}/calls
[ "$1" = build ] || exit 0
while [ "$1" != --iidfile ]; do shift; done
echo "sha256:$$0123456789abcdef" >"$2"
exit ${exitCode}`
    await writeFile(join(folder, 'docker'), script, { mode: 0o755 })
    return within(async () => {
      zx.env = { ...zx.env, PATH: `${folder}:${zx.env.PATH}` }
      return buildAll(platform, await sourcesOf(platform), { update: () => {}, line: () => {} })
    })
  }

  it('get one image, built once', async () => {
    const images = (await build()).map(({ image }) => image)
    assert.deepEqual(
      images.map(({ application }) => application),
      ['console', 'bootstrap', 'peer1', 'peer2'],
    )
    assert.equal(new Set(images.map(({ tag }) => tag)).size, 1)
    const said = await calls()
    assert.equal(said.filter(call => call.startsWith('build ')).length, 1)
    for (const { repository } of images) assert.ok(said.includes(`pushed ${repository}:dev`), said.join('\n'))
  })

  it('fail with one error', async () => {
    await assert.rejects(build(1), (error: PlatformError) => {
      assert.match(error.message, /^The image of \w+ could not be built from .*placeholder: /)
      return true
    })
    assert.equal((await calls()).length, 1)
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
