import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { type StubbedTasks, stubbedTasks } from '../helpers/stub-docker.ts'

interface Pin {
  kind: string
  name: string
  pinned: string
  newest?: string
  state: string
  detail: string
}

const otherDigest = `sha256:${'0'.repeat(64)}`

describe('the task outdated', () => {
  const servers: Server[] = []
  let tasks: StubbedTasks
  let npmRegistry: string

  before(async () => {
    // of every image the tag that is asked for is the only one, with another digest; of nginx there is a newer one
    const hub = await listening((path, answer) => {
      if (path.endsWith('/library/nginx/tags/list')) return answer(200, { tags: ['1.30.4-alpine', '1.30.9-alpine'] })
      if (path.endsWith('/tags/list')) return answer(200, { tags: [] })
      if (path.includes('/manifests/')) return answer(200, {}, { 'docker-content-digest': otherDigest })
      return answer(404, {})
    })
    const { dependencies, devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    const pins: Record<string, string> = { ...dependencies, ...devDependencies, zx: '99.0.0' }
    npmRegistry = await listening((path, answer) => {
      const name = decodeURIComponent(path.slice(1))
      const version = pins[name] ?? '1.0.0'
      const versions = [version, dependencies[name] ?? version].map(version => [version, { name, version, dist: {} }])
      return answer(200, { name, 'dist-tags': { latest: version }, versions: Object.fromEntries(versions) })
    })
    tasks = await stubbedTasks({ IMAGE_MIRROR: `${hub.replace('http://', '')}/hub` })
  })
  after(async () => {
    for (const server of servers) server.close()
    await tasks.remove()
  })

  async function listening(
    answerTo: (path: string, answer: (status: number, body: object, headers?: object) => void) => void,
  ): Promise<string> {
    const server = createServer((question, answer) =>
      answerTo(new URL(question.url ?? '', 'http://x').pathname, (status, body, headers = {}) =>
        answer.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body)),
      ),
    )
    servers.push(server)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** Beside this process, which answers it. */
  async function outdated(...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const env = { ...tasks.environment, npm_config_registry: npmRegistry }
    const child = spawn(process.execPath, ['lib/cli/launch.mjs', 'outdated', ...words], { cwd: root, env })
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
    return { code, stdout, stderr }
  }

  it('compares images with their registry and packages with npm, and says what is newer and which digest is another', async () => {
    const { code, stdout } = await outdated('--json')
    const { pins } = JSON.parse(stdout) as { pins: Pin[] }
    const of = (name: string) => pins.find(pin => pin.name === name)
    assert.deepEqual([of('nginx')?.state, of('nginx')?.newest], ['newer', '1.30.9-alpine'])
    assert.equal(of('postgres')?.state, 'current')
    assert.equal(of('kindest/node')?.state, 'digest changed')
    assert.match(of('kindest/node')?.detail ?? '', new RegExp(`^v[\\d.]+ is ${otherDigest} now$`))
    assert.deepEqual([of('zx')?.state, of('zx')?.newest], ['newer', '99.0.0'])
    assert.equal(of('yaml')?.state, 'current')
    // the publishers of programs may be out of reach here
    assert.equal(code, pins.some(({ state }) => state === 'not reached') ? 1 : 0)
  })

  it('says what could not be reached, and fails', async () => {
    npmRegistry = 'http://127.0.0.1:9/'
    const { code, stdout, stderr } = await outdated()
    assert.equal(code, 1)
    assert.match(stdout, /^npm +yaml +\S+ +not reached +.*ECONNREFUSED/m)
    assert.match(
      stderr,
      /\d+ pins: \d+ current, \d+ outdated, (?:1 changed digest|\d+ changed digests), \d+ not reached/,
    )
  })
})
