import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { $, within } from 'zx/core'
import { programBuild } from '../../../lib/sandbox/programs.ts'
import { type InspectedImage, obsoleteImages, prunable, pruneBuilds, pruneCache } from '../../../lib/sandbox/prune.ts'
import { ensureBuilt, folderName, withLock } from '../../../lib/supply/cache.ts'

const limit = new Date('2026-06-15T00:00:00Z')
const before = new Date('2026-06-01T00:00:00Z')
const since = new Date('2026-06-20T00:00:00Z')

describe('what no recipe makes any more', () => {
  it('goes from the cache once nobody has used it for long', async () => {
    const cacheDir = await mkdtemp(join(tmpdir(), 'macula-prune-'))
    const folders = {
      'loki-needed': before,
      'loki-old': before,
      'loki-recent': since,
      'registry-old.unfinished': before,
    }
    for (const [name, used] of Object.entries(folders)) {
      await mkdir(join(cacheDir, 'built', name), { recursive: true })
      await utimes(join(cacheDir, 'built', name), used, used)
    }
    assert.deepEqual((await pruneBuilds(cacheDir, new Set(['loki-needed']), limit)).sort(), [
      'loki-old',
      'registry-old.unfinished',
    ])
    assert.deepEqual((await readdir(join(cacheDir, 'built'))).sort(), ['loki-needed', 'loki-recent'])
    await rm(cacheDir, { recursive: true })
  })

  it('counts as used whenever it is taken from the cache', async () => {
    const cacheDir = await mkdtemp(join(tmpdir(), 'macula-prune-'))
    const build = { name: 'note', inputs: 1, build: async () => {} }
    const folder = await ensureBuilt(build, { cacheDir })
    await utimes(folder, before, before)
    await ensureBuilt(build, { cacheDir })
    assert.deepEqual(await pruneBuilds(cacheDir, new Set(), limit), [])
    await rm(cacheDir, { recursive: true })
  })

  it('goes from the engine under all of its names, and nothing else does', () => {
    const image = (
      created: Date,
      names: string[],
      labels: Record<string, string> | null = { 'macula.standin': 'real' },
    ) => ({ RepoTags: names, Created: created.toISOString(), Config: { Labels: labels } }) satisfies InspectedImage
    const images = [
      image(before, ['macula-standin/loki:new', 'grafana/loki:3.7.6']),
      image(before, ['macula-standin/loki:old', 'grafana/loki:3.6.0']),
      image(since, ['macula-standin/loki:older-branch']),
      image(before, ['macula-standin/rootfs-services:old'], null),
      image(before, ['macula-standin/rootfs-services:new'], null),
      image(before, ['pulled:1'], null),
    ]
    const needed = new Set(['macula-standin/loki:new', 'macula-standin/rootfs-services:new'])
    assert.deepEqual(obsoleteImages(images, needed, limit), [
      'macula-standin/loki:old',
      'grafana/loki:3.6.0',
      'macula-standin/rootfs-services:old',
    ])
  })
})

describe('the cache on the disk', () => {
  const megabyte = Buffer.alloc(1_000_000, 1)
  /** A cache with a file of a megabyte in each of these folders, last used at that time. */
  async function cacheWith(folders: Record<string, Date>): Promise<string> {
    const cacheDir = await mkdtemp(join(tmpdir(), 'macula-cache-'))
    for (const [name, used] of Object.entries(folders)) {
      await mkdir(join(cacheDir, name), { recursive: true })
      await writeFile(join(cacheDir, name, 'init.log'), megabyte)
      await utimes(join(cacheDir, name, 'init.log'), used, used)
      await utimes(join(cacheDir, name), used, used)
    }
    return cacheDir
  }
  const now = new Date()
  const names = (entries: readonly { what: string }[]) => entries.map(({ what }) => what).sort()

  it('is freed of what the next start does not use, with sizes, when that is asked for', async () => {
    const needed = folderName(await programBuild('registry', { cacheDir: '/nowhere' }))
    const cacheDir = await cacheWith({
      'go/mod': now,
      'built/loki-0123456789abcdef': before,
      [`built/${needed}`]: before,
      'sandbox/default': before,
      'sandbox/tests': now,
    })
    // as Go keeps its modules
    await chmod(join(cacheDir, 'go/mod'), 0o555)
    const found = await prunable(cacheDir, 'default')
    assert.deepEqual(names(found), ["Go's caches", 'the images of the sandbox tests'])
    for (const { what, bytes } of found) assert.ok(bytes >= 1_000_000 && bytes < 1_100_000, `${what}: ${bytes}`)
    assert.deepEqual(names(await pruneCache(cacheDir, 'default')), [
      "Go's caches",
      'loki, which no recipe makes any more',
      'the images of the sandbox tests',
    ])
    assert.deepEqual(await readdir(join(cacheDir, 'built')), [needed])
    assert.deepEqual(await readdir(join(cacheDir, 'sandbox')), ['default'])
    assert.deepEqual(await pruneCache(cacheDir, 'default'), [])
    await rm(cacheDir, { recursive: true })
  })

  it('is not there under its name any more when a removal is interrupted, and goes with the next one', async () => {
    const cacheDir = await cacheWith({ 'go/mod': before })
    const tools = join(cacheDir, 'tools')
    await mkdir(tools)
    await writeFile(join(tools, 'rm'), '#!/bin/sh\necho ended >&2; exit 143\n', { mode: 0o755 })
    const interrupted = within(async () => {
      $.env = { ...$.env, PATH: `${tools}:${$.env.PATH}` }
      await pruneCache(cacheDir, 'default')
    })
    await assert.rejects(interrupted, /go\.removed could not be removed/)
    assert.deepEqual((await readdir(cacheDir)).sort(), ['go.removed', 'locks', 'tools'])
    assert.deepEqual(names(await pruneCache(cacheDir, 'default')), ["Go's caches"])
    assert.deepEqual((await readdir(cacheDir)).sort(), ['locks', 'tools'])
    await rm(cacheDir, { recursive: true })
  })

  it('keeps what is in use: a sandbox that is up, and Go while something is compiled', async () => {
    const cacheDir = await cacheWith({ 'go/mod': before, 'sandbox/up': before })
    const locks = [join(cacheDir, 'sandbox/up/lock'), join(cacheDir, 'locks/compile-1')] as const
    const fail = () => assert.fail('is locked')
    const removed = await withLock(locks[0], fail, () =>
      withLock(locks[1], fail, () => pruneCache(cacheDir, 'default')),
    )
    assert.deepEqual(removed, [])
    await rm(cacheDir, { recursive: true })
  })

  it('loses by age alone only what nobody has used for two weeks, and what Go has left for a day', async () => {
    const cacheDir = await cacheWith({
      go: before,
      'built/loki-0123456789abcdef': now,
      'sandbox/recent': new Date(now.getTime() - 13 * 24 * 3600 * 1000),
      'sandbox/old': new Date(now.getTime() - 15 * 24 * 3600 * 1000),
    })
    assert.deepEqual(names(await pruneCache(cacheDir, 'default', { onlyOld: true })), [
      "Go's caches",
      'the images of the sandbox old',
    ])
    await rm(cacheDir, { recursive: true })
  })
})
