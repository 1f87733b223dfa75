import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { within, $ as zx } from 'zx/core'
import { buildAndPush } from '../../lib/cluster/application-images.ts'
import { push } from '../../lib/cluster/image-registry.ts'
import { loadImages } from '../../lib/stack/image-files.ts'
import { pullImages } from '../../lib/stack/image-store.ts'
import { PlatformError } from '../../lib/system/errors.ts'
import { examplePaths, goodPlatform } from '../helpers/platform.ts'

// A docker that works for longer than a minute and says so goes on; one that says nothing more is ended a minute later. In real time, all at once.

const workSeconds = 80
/** What docker says every few seconds while it works; `stalls` says it once. */
const said: Record<string, string> = {
  'compose*pull*':
    '{"id":"Layer","parent_id":"Image image-0","text":"Downloading","current":1048576,"total":99999999999}',
  'compose*push*': '{"id":"Layer","text":"Pushing","current":1048576,"total":99999999999}',
  'build*': '#5 sha256:0123 1.05MB / 99.9GB 5.0s',
}

describe('operations whose length nobody knows', { concurrency: true }, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-stalls-'))
  })
  after(() => rm(folder, { recursive: true }))

  /** Runs an action with a docker of its own, and says how long it took and what it failed with. */
  async function run(name: string, docker: string, action: (folder: string) => Promise<unknown>) {
    const own = join(folder, name.replaceAll(' ', '-'))
    await mkdir(own)
    await writeFile(join(own, 'docker'), `#!/bin/sh\ncase "$*" in\n${docker}\nesac\n`, { mode: 0o755 })
    const began = performance.now()
    const error = await within(() => {
      zx.env = { ...zx.env, PATH: `${own}:${zx.env.PATH}` }
      return action(own).then(
        () => undefined,
        (failure: unknown) => failure,
      )
    })
    return { seconds: (performance.now() - began) / 1000, error: error as PlatformError | undefined }
  }

  const stalls = (command: string) => `${command}) echo '${said[command]}'; exec sleep 1000;;`
  const works = (command: string) =>
    `${command}) n=0; while [ $n -lt ${workSeconds} ]; do echo '${said[command]}'; sleep 5; n=$((n + 5)); done;;`
  const noImage = `'image inspect'*) echo 'Error: No such image: a/b:1' >&2; exit 1;;`

  const operations: Record<string, { command: string; action: (own: string) => Promise<unknown>; attempts: number }> = {
    'a pull': {
      command: 'compose*pull*',
      action: () =>
        pullImages(
          ['a/b:1'],
          image => image,
          () => {},
        ),
      attempts: 2,
    },
    'a push': { command: 'compose*push*', action: () => push('localhost:1/a/b:1'), attempts: 1 },
    'a build': { command: 'build*', action: build, attempts: 1 },
  }
  for (const [name, { command, action, attempts }] of Object.entries(operations)) {
    it(`${name} that stalls ends after a minute${attempts > 1 ? ', and so does its second attempt' : ''}`, async () => {
      const { seconds, error } = await run(`${name} stalls`, `${stalls(command)}\n${noImage}`, action)
      assert.ok(error instanceof PlatformError, String(error))
      assert.match(`${error.message}\n${error.why}`, /made no progress for 60 s|could not be p/)
      assert.ok(seconds > 59 * attempts && seconds < 70 * attempts, `${seconds} s`)
    })
    it(`${name} that goes on for ${workSeconds} s, and says so, is not ended`, async () => {
      const docker = `${works(command)}\n'image inspect'*) echo ok;;`
      const { seconds, error } = await run(`${name} works`, docker, action)
      assert.doesNotMatch(`${error?.message}\n${error?.why}`, /made no progress/)
      assert.ok(seconds > workSeconds - 1, `${seconds} s`)
    })
  }

  it('a build whose step is silent for longer than a minute, as a compiler is, is not ended', async () => {
    const docker = `build*) echo '#8 [4/6] RUN cargo build'; sleep ${workSeconds}; echo '#8 DONE ${workSeconds}.0s';;`
    const { seconds, error } = await run('a silent build', docker, build)
    assert.doesNotMatch(`${error?.message}\n${error?.why}`, /made no progress/)
    assert.ok(seconds > workSeconds - 1, `${seconds} s`)
  })

  it('a load whose engine stops reading ends after a minute; one that reads slowly, or unpacks what it has read, is not ended', async () => {
    const archive = async (own: string) => {
      const path = join(own, 'image.tar')
      await writeFile(path, Buffer.alloc(20 * 2 ** 20))
      return loadImages([{ path, kind: 'docker', images: [{ name: 'a/b:1', id: 'sha256:01' }] } as never], [])
    }
    const chunk = 'dd bs=65536 count=10 iflag=fullblock of=/dev/null 2>/dev/null'
    const [stalled, slow, silent] = await Promise.all([
      run('a load stalls', `${noImage}\nload*) ${chunk}; exec sleep 1000;;`, archive),
      run(
        'a load is slow',
        `${noImage}\nload*) n=0; while [ $n -lt 16 ]; do ${chunk}; sleep 5; n=$((n + 1)); done; cat >/dev/null;;`,
        archive,
      ),
      run('a load unpacks', `${noImage}\nload*) cat >/dev/null; sleep ${workSeconds};;`, archive),
    ])
    assert.match(stalled.error?.message ?? '', /docker load --quiet` made no progress for 60 s$/)
    assert.ok(stalled.seconds > 59 && stalled.seconds < 72, `${stalled.seconds} s`)
    for (const { seconds, error } of [slow, silent]) {
      assert.match(error?.message ?? '', /did not bring/)
      assert.ok(seconds > workSeconds - 1, `${seconds} s`)
    }
  })

  async function build(own: string): Promise<unknown> {
    const source = join(own, 'source')
    await mkdir(source)
    await writeFile(join(source, 'Dockerfile'), 'FROM scratch\n')
    const platform = await goodPlatform({ paths: { ...examplePaths(own), stateDir: join(own, 'state') } })
    return buildAndPush(platform, { application: 'console', folder: source }, new Map())
  }
})
