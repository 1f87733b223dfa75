import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { within, $ as zx } from 'zx'
import { mirrored, nameFromFile, pullImages, pushImage, withTags } from '../../../lib/stack/image-store.ts'

it('an official image has the folder library behind a mirror', () =>
  assert.equal(mirrored('registry:3.1.1', 'mirror.test/hub'), 'mirror.test/hub/library/registry:3.1.1'))
it('any other image of Docker Hub keeps its path', () =>
  assert.equal(mirrored('grafana/loki:3.7.6', 'mirror.test'), 'mirror.test/grafana/loki:3.7.6'))
it('an image of another registry is not mirrored', () => {
  assert.equal(mirrored('ghcr.io/a/b:1', 'mirror.test'), 'ghcr.io/a/b:1')
  assert.equal(mirrored('localhost:5001/macula/x:dev', 'mirror.test'), 'localhost:5001/macula/x:dev')
})
it('without a mirror every image keeps its name', () => assert.equal(mirrored('nginx:1', ''), 'nginx:1'))

it('an image that is pinned by a digest has a name of its own in an engine that loaded it from a file', () => {
  const hex = 'ab'.repeat(32)
  assert.equal(nameFromFile(`traefik:v3@sha256:${hex}`), `traefik:sha256-${hex}`)
  assert.equal(nameFromFile(`localhost:5001/a/b@sha256:${hex}`), `localhost:5001/a/b:sha256-${hex}`)
  assert.equal(nameFromFile('localhost:5001/a/b:1'), undefined)
})

describe('a Compose that is too old to say how far it is as JSON', () => {
  /** Runs `action` beside a docker like Debian 13's, which moves images unless it is told to refuse them; what it was asked for. */
  async function beside(refusal: string, action: () => Promise<unknown>): Promise<{ calls: string; result: unknown }> {
    const folder = await mkdtemp(join(tmpdir(), 'macula-old-compose-'))
    const script = `#!/bin/sh
echo "$*" >>${folder}/calls
case "$*" in
  *'--progress json'*) echo 'unsupported --progress value "json"' >&2; exit 1 ;;
  'compose '*' push') cat >/dev/null; echo '${refusal}' >&2; test -z '${refusal}' ;;
  'compose '*) cat >/dev/null; echo '${refusal}' >&2; test -n '${refusal}' || touch ${folder}/pulled ;;
  'image inspect'*) test -e ${folder}/pulled || { echo 'Error response from daemon: No such image: nginx:1' >&2; exit 1; } ;;
esac`
    try {
      await writeFile(join(folder, 'docker'), script, { mode: 0o755 })
      const result = await within(async () => {
        zx.env = { ...zx.env, PATH: `${folder}:${zx.env.PATH}` }
        return action()
      })
      return { calls: await readFile(join(folder, 'calls'), 'utf8'), result }
    } finally {
      await rm(folder, { recursive: true })
    }
  }
  const pull = () =>
    pullImages(
      ['nginx:1'],
      image => image,
      () => {},
    )

  it('pushes and pulls all the same', async () => {
    const pushed = await beside('', () => pushImage('localhost:5001/a:1'))
    assert.equal(pushed.result, undefined)
    assert.match(pushed.calls, /progress plain --file - push$/m)
    assert.match((await beside('', pull)).calls, /progress plain --file - pull --ignore-pull-failures$/m)
  })

  it('has its own words for what went wrong', async () => {
    assert.equal((await beside('denied: no access', () => pushImage('localhost:5001/a:1'))).result, 'denied: no access')
    await assert.rejects(beside('manifest unknown', pull), { why: 'manifest unknown' })
  })
})

describe('images that are pinned by a digest, in an archive', () => {
  const pinned = `traefik:v3@sha256:${'ab'.repeat(32)}`

  /** What docker was asked to tag, with `action` among it, where the tag has the image `held`. */
  async function tagsAround(held: string, action: () => Promise<void>): Promise<string[]> {
    const folder = await mkdtemp(join(tmpdir(), 'macula-tags-'))
    const script = `#!/bin/sh
case "$*" in
  'image inspect --format {{.Id}} traefik:v3') test -n '${held}' && echo '${held}' ;;
  'tag '*) echo "$*" >>${folder}/calls ;;
esac`
    try {
      await writeFile(join(folder, 'docker'), script, { mode: 0o755 })
      await within(async () => {
        zx.env = { ...zx.env, PATH: `${folder}:${zx.env.PATH}` }
        await withTags([pinned, 'nginx:1'], async () => {
          await appendFile(join(folder, 'calls'), 'action\n')
          await action()
        }).catch(() => {})
      })
      return (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n')
    } finally {
      await rm(folder, { recursive: true })
    }
  }

  it('have their tag meanwhile, and one that somebody else had given to another image goes back to it', async () => {
    const calls = [`tag ${pinned} traefik:v3`, 'action', 'tag sha256:theirs traefik:v3']
    assert.deepEqual(await tagsAround('sha256:theirs', async () => {}), calls)
    const fails = async () => assert.fail('the disk is full')
    assert.deepEqual(await tagsAround('sha256:theirs', fails), calls)
  })

  it('keep a tag that nothing had: without it, the engine might drop the image', async () => {
    assert.deepEqual(await tagsAround('', async () => {}), [`tag ${pinned} traefik:v3`, 'action'])
  })
})
