import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { outdatedImages, outdatedPackages, outdatedPrograms } from '../../../lib/supply/outdated.ts'
import { newestTag } from '../../../lib/supply/registry-client.ts'
import { releases } from '../../../lib/supply/releases.ts'
import { listening } from '../../helpers/servers.ts'
import { freePort } from '../../helpers/sockets.ts'

const [digest, other] = [`sha256:${'1'.repeat(64)}`, `sha256:${'2'.repeat(64)}`]

describe('the newest tag of the kind that is pinned', () => {
  const tags = {
    'nginx:1.30.4-alpine': ['1.30.4-alpine', '1.30.10-alpine', '1.31.0', '1.31.0-alpine-slim', '1.31-alpine', 'latest'],
    'timescale:2.29.2-pg17': ['2.29.2-pg17', '2.29.3-pg18', '2.29.10-pg17', '2.30.0-pg17-oss'],
    'prometheus:v3.13.3': ['v3.13.3', 'v3.14.0-rc.0', 'v3.13.10', '3.15.0', 'v2.99.99'],
    'silo:RELEASE.2026-09-16T00-00-00Z': ['RELEASE.2026-09-16T00-00-00Z', 'RELEASE.2026-10-02T11-00-00Z', 'edge'],
    'registry:3.1.1': ['3', '3.1', '3.1.1', '3.1.1-rc.1', '2.8.3'],
  }
  const newest = ['1.30.10-alpine', '2.29.10-pg17', 'v3.13.10', 'RELEASE.2026-10-02T11-00-00Z', '3.1.1']
  for (const [index, [image, known]] of Object.entries(tags).entries())
    it(`of ${image} is ${newest[index]}`, () => {
      assert.equal(newestTag(image.replace(/^.*?:/, ''), known), newest[index])
    })
})

describe('pins of images', () => {
  let registry: Server
  let mirror: string
  const asked: string[] = []
  before(async () => {
    // pages of one tag, behind a token that anybody gets
    registry = createServer((question, answer) => {
      const url = new URL(question.url ?? '', `http://${question.headers.host}`)
      asked.push(`${question.method} ${url.pathname}`)
      if (url.pathname === '/token') return answer.end(JSON.stringify({ token: url.searchParams.get('scope') }))
      if (question.headers.authorization !== 'Bearer pull') {
        const realm = `Bearer realm="${url.origin}/token",service="test",scope="pull"`
        return answer.writeHead(401, { 'www-authenticate': realm }).end()
      }
      if (url.pathname === '/v2/hub/library/nginx/tags/list') {
        const pages = ['1.30.4-alpine', '1.30.5-alpine']
        const page = Number(url.searchParams.get('page') ?? 0)
        if (page + 1 < pages.length) answer.setHeader('link', `<${url.pathname}?page=${page + 1}>; rel="next"`)
        return answer.end(JSON.stringify({ tags: [pages[page]] }))
      }
      if (url.pathname.endsWith('/tags/list')) return answer.end(JSON.stringify({ tags: ['v1.0.0'] }))
      if (url.pathname.includes('/manifests/')) return answer.writeHead(200, { 'docker-content-digest': other }).end()
      answer.writeHead(404).end()
    })
    const { port } = await listening(registry)
    mirror = `127.0.0.1:${port}/hub`
  })
  after(() => registry.close())

  it('are compared with the tags of their registry, all pages of them, behind a mirror', async () => {
    const [nginx] = await outdatedImages(['nginx:1.30.4-alpine'], { mirrored: () => `${mirror}/library/nginx:x` })
    assert.deepEqual(nginx, {
      kind: 'image',
      name: 'nginx',
      pinned: '1.30.4-alpine',
      newest: '1.30.5-alpine',
      state: 'newer',
      detail: '',
    })
  })

  it('are compared with the digest that is pinned beside the tag', async () => {
    const states = await outdatedImages([`traefik:v1.0.0@${digest}`, `node:v1.0.0@${other}`, 'kind:v1.0.0'], {
      mirrored: image => `${mirror}/${image}`,
    })
    assert.deepEqual(
      states.map(({ name, state, detail }) => [name, state, detail]),
      [
        ['traefik', 'digest changed', `v1.0.0 is ${other} now`],
        ['node', 'current', ''],
        ['kind', 'current', ''],
      ],
    )
  })

  it('are said to be unknown, and why, where no registry answers', async () => {
    const port = await freePort()
    const [state] = await outdatedImages(['nginx:1'], { mirrored: () => `127.0.0.1:${port}/nginx:1` })
    assert.equal(state?.state, 'not reached')
    assert.match(state?.detail ?? '', new RegExp(`ECONNREFUSED 127\\.0\\.0\\.1:${port}`))
  })
})

describe('pins of programs', () => {
  it('are compared with the releases of their authors, kubectl within its minor version', async () => {
    const minor = releases.kubectl.version.split('.').slice(0, 2).join('.')
    const answers: Record<string, Response> = {
      [`https://dl.k8s.io/release/stable-${minor}.txt`]: new Response(`v${minor}.99\n`),
      'https://github.com/kubernetes-sigs/kind/releases/latest': new Response(null, {
        status: 302,
        headers: { location: `https://github.com/kubernetes-sigs/kind/releases/tag/v${releases.kind.version}` },
      }),
    }
    const get = async (url: unknown) => answers[String(url)] ?? assert.fail(String(url))
    assert.deepEqual(
      (await outdatedPrograms({ fetch: get as typeof fetch })).map(({ name, newest, state }) => [name, newest, state]),
      [
        ['kind', releases.kind.version, 'current'],
        ['kubectl', `${minor}.99`, 'newer'],
      ],
    )
  })

  it('are said to be unknown where a page for people answers in their place', async () => {
    const get = async () => new Response('<html>Please log in</html>')
    for (const { state, detail } of await outdatedPrograms({ fetch: get as typeof fetch })) {
      assert.equal(state, 'not reached')
      assert.match(detail, /^its publisher names no version/)
    }
  })
})

describe('pins of npm packages', () => {
  let folder: string
  let registry: Server
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-npm-'))
    registry = createServer((question, answer) => {
      const name = decodeURIComponent(question.url?.slice(1) ?? '')
      const version = (version: string) => ({ name, version, dist: { tarball: '', shasum: '' } })
      answer.setHeader('content-type', 'application/json')
      answer.end(
        JSON.stringify({
          name,
          'dist-tags': { latest: name === 'old' ? '2.0.0' : '1.0.0' },
          versions: { '1.0.0': version('1.0.0'), '2.0.0': version('2.0.0') },
        }),
      )
    })
    const { port } = await listening(registry)
    const pins = { dependencies: { old: '1.0.0' }, devDependencies: { fresh: '1.0.0' } }
    await writeFile(join(folder, 'package.json'), JSON.stringify(pins))
    await writeFile(join(folder, '.npmrc'), `registry=http://127.0.0.1:${port}/\n`)
  })
  after(async () => {
    registry.close()
    await rm(folder, { recursive: true })
  })

  it("are compared with npm's registry, by npm", async () => {
    assert.deepEqual(
      (await outdatedPackages(folder)).map(({ name, pinned, newest, state }) => [name, pinned, newest, state]),
      [
        ['old', '1.0.0', '2.0.0', 'newer'],
        ['fresh', '1.0.0', '1.0.0', 'current'],
      ],
    )
  })

  it('are said to be unknown where it does not answer', async () => {
    await writeFile(join(folder, '.npmrc'), `registry=http://127.0.0.1:${await freePort()}/\n`)
    for (const { state, detail } of await outdatedPackages(folder)) {
      assert.equal(state, 'not reached')
      assert.match(detail, /ECONNREFUSED/)
    }
  })
})
