import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type InspectedImage, obsoleteImages, pruneBuilds } from '../../../lib/sandbox/prune.ts'
import { ensureBuilt } from '../../../lib/supply/cache.ts'

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
