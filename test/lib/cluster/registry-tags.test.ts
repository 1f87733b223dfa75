import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { removeOldImages } from '../../../lib/cluster/image-registry.ts'
import type { Platform } from '../../../lib/platform/platform.ts'
import { contentOf, examplePlatform, renderExample } from '../../helpers/example.ts'
import { run } from '../../helpers/run.ts'
import { freePort, until } from '../../helpers/sockets.ts'
import { builtValidator } from '../../helpers/validators.ts'

const registry = await builtValidator('registry', 'registry')
const manifestType = 'application/vnd.oci.image.manifest.v1+json'

describe('images that a real registry keeps of an application', { skip: registry.skip }, () => {
  let folder = ''
  let base = ''
  let platform: Platform
  let program: ChildProcess

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-registry-'))
    const [port, debugPort] = [await freePort(), await freePort()]
    base = `http://127.0.0.1:${port}/v2/macula/console`
    platform = await examplePlatform({ settings: { REGISTRY_PORT: String(port) } })
    await writeFile(
      join(folder, 'config.yml'),
      contentOf(await renderExample(), 'config/registry/config.yml')
        .replace('/var/lib/registry', join(folder, 'data'))
        .replace('addr: :5000', `addr: 127.0.0.1:${port}`)
        .replace('addr: :5001', `addr: 127.0.0.1:${debugPort}`),
    )
    program = spawn(registry.program, ['serve', join(folder, 'config.yml')], {
      stdio: 'ignore',
      env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
    })
    await until(async () => (await fetch(`http://127.0.0.1:${port}/v2/`)).ok, 'the registry answers')
  })

  after(async () => {
    if (program === undefined) return
    const ended = once(program, 'exit')
    program.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true })
  })

  const repository = () => `localhost:${platform.settings.REGISTRY_PORT}/macula/console`
  const tags = async () => ((await (await fetch(`${base}/tags/list`)).json()) as { tags: string[] }).tags.sort()
  const configOf = (day: number) => {
    const created = new Date(Date.UTC(2026, 0, day)).toISOString()
    return Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', created }))
  }
  /** The name of its content, as build-and-push gives it: the beginning of the image's id. */
  const tagOf = (day: number) => sha256(configOf(day)).slice(0, 16)
  const bytes = async () => Number((await run(['du', '-sk', join(folder, 'data')])).stdout.split('\t')[0]) * 1024

  /** An image of a megabyte that was built on this day of the year; its layer is like no other. */
  async function push(day: number, ...names: string[]): Promise<void> {
    const layer = Buffer.alloc(1_000_000, `layer of day ${day} `)
    const config = configOf(day)
    const [layerDigest, configDigest] = [await pushBlob(layer), await pushBlob(config)]
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: configDigest, size: config.length },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layerDigest, size: layer.length }],
    })
    for (const name of names) {
      const headers = { 'content-type': manifestType }
      assert.equal((await fetch(`${base}/manifests/${name}`, { method: 'PUT', headers, body: manifest })).status, 201)
    }
  }

  async function pushBlob(content: Buffer<ArrayBuffer>): Promise<string> {
    const digest = `sha256:${sha256(content)}`
    const started = await fetch(`${base}/blobs/uploads/`, { method: 'POST' })
    const place = new URL(started.headers.get('location') ?? '', base)
    place.searchParams.set('digest', digest)
    const sent = await fetch(place, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: content,
    })
    assert.equal(sent.status, 201)
    return digest
  }

  it('are the newest, however many more are pushed, and whatever another tag names', async () => {
    // the order of the pushes is not that of the builds
    for (const day of [5, 1, 4, 2]) await push(day, tagOf(day))
    await push(3, tagOf(3), 'release')
    await push(6, tagOf(6), 'dev')
    assert.deepEqual(await removeOldImages(platform, repository(), 6), [])
    assert.deepEqual(await removeOldImages(platform, repository(), 2), [tagOf(4), tagOf(2), tagOf(1)])
    assert.deepEqual(await tags(), [tagOf(3), tagOf(5), tagOf(6), 'dev', 'release'].sort())
    for (const kept of await tags())
      assert.equal((await fetch(`${base}/manifests/${kept}`, { headers: { accept: manifestType } })).status, 200, kept)
    assert.deepEqual(await removeOldImages(platform, repository(), 2), [])
  })

  it('are not those of a tag that only looks like the name of a content', async () => {
    // as `git rev-parse --short=16` prints it
    const mine = '0123456789abcdef'
    await push(7, mine)
    assert.deepEqual(await removeOldImages(platform, repository(), 0), [tagOf(5)])
    assert.deepEqual(await tags(), [tagOf(3), tagOf(6), 'dev', 'release', mine].sort())
    const { headers } = await fetch(`${base}/manifests/${mine}`, { headers: { accept: manifestType } })
    const digest = headers.get('docker-content-digest')
    assert.equal((await fetch(`${base}/manifests/${digest}`, { method: 'DELETE' })).status, 202)
    await push(5, tagOf(5))
  })

  it('stay within the bound while one after another is pushed', async () => {
    for (let day = 10; day < 20; day += 1) {
      await push(day, tagOf(day), 'dev')
      await removeOldImages(platform, repository(), 3)
      assert.ok(
        (await tags()).filter(tag => /^[0-9a-f]{16}$/.test(tag)).length <= 4,
        'three, and the one that is named release',
      )
    }
  })

  it('take no more space than that once the garbage is collected', async () => {
    const before = await bytes()
    await run([registry.program, 'garbage-collect', join(folder, 'config.yml')])
    const left = await bytes()
    assert.ok(before > 15_000_000 && left < 5_500_000, `${before} bytes before, ${left} after`)
    assert.equal((await fetch(`${base}/manifests/dev`, { headers: { accept: manifestType } })).status, 200)
    assert.ok((await readFile(join(folder, 'config.yml'), 'utf8')).includes('delete: { enabled: true }'))
  })

  it('are left alone in a registry of somebody else', async () => {
    assert.deepEqual(await removeOldImages(platform, 'registry.example.com/macula/console', 0), [])
  })
})

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}
