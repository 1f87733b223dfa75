import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { boundToUs } from '../../../lib/supply/bound.ts'
import {
  type Build,
  ensureBuilt,
  folderName,
  type SupplyEvent,
  withLock,
  withOneOf,
} from '../../../lib/supply/cache.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'macula-cache-test-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const cache = async (name: string) => {
  const cacheDir = join(folder, name)
  await mkdir(cacheDir, { recursive: true })
  return cacheDir
}
const noteOf = (text: string, started?: () => void): Build => ({
  name: 'note',
  inputs: text,
  async build(into) {
    started?.()
    await new Promise(resume => setTimeout(resume, 200))
    await writeFile(join(into, 'note'), text)
  },
})

describe('the build cache', () => {
  it('builds once for all who ask at the same time, and never again', async () => {
    const cacheDir = await cache('once')
    let builds = 0
    const events: SupplyEvent[] = []
    const options = { cacheDir, report: (event: SupplyEvent) => void events.push(event) }
    const build = noteOf('one', () => (builds += 1))
    const paths = await Promise.all([1, 2, 3].map(() => ensureBuilt(build, options)))
    paths.push(await ensureBuilt(build, options))
    assert.equal(new Set(paths).size, 1)
    assert.equal(await readFile(join(paths[0]!, 'note'), 'utf8'), 'one')
    assert.equal(builds, 1)
    assert.equal(events.filter(event => event.detail === 'built').length, 1)
    assert.equal(events.filter(event => event.detail === 'from the cache').length, 3)
    assert.equal(events.filter(event => event.state === 'waiting').length, 2)
  })

  it('keeps what was built from other inputs', async () => {
    const cacheDir = await cache('inputs')
    const one = await ensureBuilt(noteOf('one'), { cacheDir })
    const two = await ensureBuilt(noteOf('two'), { cacheDir })
    assert.notEqual(one, two)
    assert.equal(await readFile(join(one, 'note'), 'utf8'), 'one')
    assert.equal(await readFile(join(two, 'note'), 'utf8'), 'two')
  })

  it('leaves nothing of a build that failed, and tries again', async () => {
    const cacheDir = await cache('failed')
    const failing: Build = {
      ...noteOf('one'),
      async build(into) {
        await writeFile(join(into, 'half'), '')
        throw new Error('no network')
      },
    }
    await assert.rejects(ensureBuilt(failing, { cacheDir }), /no network/)
    assert.deepEqual(await readdir(join(cacheDir, 'built')), [])
    const place = await ensureBuilt(noteOf('one'), { cacheDir })
    assert.deepEqual(await readdir(place), ['note'])
  })

  it('counts a build as new whatever time its folder was given, so that it is not taken for one that nobody needs', async () => {
    const cacheDir = await cache('old')
    const unpacked: Build = { ...noteOf('one'), build: into => utimes(into, new Date(0), new Date(0)) }
    const { mtime } = await stat(await ensureBuilt(unpacked, { cacheDir }))
    assert.ok(Date.now() - mtime.getTime() < 60_000, String(mtime))
  })

  it('throws away what a killed builder left', async () => {
    const cacheDir = await cache('killed')
    const build = noteOf('one')
    const left = join(cacheDir, 'built', `${folderName(build)}.unfinished`)
    await mkdir(left, { recursive: true })
    await writeFile(join(left, 'half'), '')
    assert.deepEqual(await readdir(await ensureBuilt(build, { cacheDir })), ['note'])
    await assert.rejects(access(left))
  })
})

describe('a lock', () => {
  it('is free again when its holder is killed', { timeout: 20_000 }, async () => {
    const file = join(await cache('lock'), 'lock')
    const script = `
      const { withLock } = await import(${JSON.stringify(join(import.meta.dirname, '../../../lib/supply/cache.ts'))})
      await withLock(${JSON.stringify(file)}, () => {}, () => new Promise(() => { console.log('held'); setInterval(() => {}, 1000) }))`
    const holder = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(holder.stdout, 'data')
    let waited = false
    const ours = withLock(
      file,
      () => (waited = true),
      async () => 'ours',
    )
    while (!waited) await new Promise(resume => setTimeout(resume, 20))
    holder.kill('SIGKILL')
    assert.equal(await ours, 'ours')
  })

  it('of several lets as many work at a time, and the next as soon as one is done', { timeout: 20_000 }, async () => {
    const cacheDir = await cache('slots')
    const slots = [join(cacheDir, 'one'), join(cacheDir, 'two')]
    let [running, most, all] = [0, 0, 0]
    const work = () =>
      withOneOf(
        slots,
        () => {},
        async () => {
          running += 1
          all += 1
          most = Math.max(most, running)
          // the first two have to meet; a third at the same time would be one too many
          while (all < 2) await new Promise(resume => setTimeout(resume, 10))
          await new Promise(resume => setTimeout(resume, 100))
          running -= 1
        },
      )
    await Promise.all([work(), work(), work()])
    assert.equal(most, 2)
    assert.equal(running, 0)
  })
})

describe('a slow command of a build', () => {
  it('ends when its builder is killed', { timeout: 20_000 }, async () => {
    const file = join(await cache('bound'), 'pid')
    const script = `
      const { boundToUs } = await import(${JSON.stringify(join(import.meta.dirname, '../../../lib/supply/bound.ts'))})
      const words = ['sh', '-c', 'echo $$ > "$0"; sleep 600 & wait', ${JSON.stringify(file)}]
      await boundToUs()\`\${words}\``
    const builder = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script])
    const pid = await until(async () => Number(await readFile(file, 'utf8').catch(() => '')) || undefined)
    assert.ok(isAlive(pid))
    builder.kill('SIGKILL')
    await until(async () => !isAlive(pid) || undefined)
  })

  it('fails in its own words', async () => {
    const command = ['sh', '-c', 'cat; echo undefined: x >&2; exit 7']
    await assert.rejects(
      async () => boundToUs()`${command}`,
      (error: PlatformError) => {
        assert.match(error.message, /^`sh -c .*` failed with exit code 7$/)
        assert.equal(error.why, 'undefined: x')
        return true
      },
    )
    assert.equal(await boundToUs()`echo ${'a b'}`.text(), 'a b\n')
  })
})

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const seen = await look()
    if (seen !== undefined) return seen
    await new Promise(resume => setTimeout(resume, 50))
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
