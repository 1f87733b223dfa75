import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { RenderedFile } from '../../../lib/platform/render.ts'
import { writeStackFiles } from '../../../lib/stack/files.ts'
import { exists } from '../../../lib/system/files.ts'
import { installedState } from '../../helpers/things.ts'

describe('the files of the stack', () => {
  let state: Awaited<ReturnType<typeof installedState>>
  beforeEach(async () => {
    state = await installedState()
  })
  afterEach(() => state.remove())

  const files = (...paths: string[]): RenderedFile[] => paths.map(path => ({ path, content: path }))
  const put = async (path: string) => {
    await mkdir(dirname(join(state.stateDir, path)), { recursive: true })
    await writeFile(join(state.stateDir, path), 'theirs')
  }
  const contentOf = (path: string) => readFile(join(state.stateDir, path), 'utf8').catch(() => undefined)

  it('are written once, and say which of them changed', async () => {
    assert.deepEqual(await writeStackFiles(state, files('config/a', 'secrets/b')), ['config/a', 'secrets/b'])
    assert.deepEqual(await writeStackFiles(state, files('config/a', 'secrets/b')), [])
  })

  it('go when nothing renders them any more', async () => {
    await writeStackFiles(state, files('config/nginx/own.conf', 'secrets/old', 'docker-compose.yml'))
    assert.deepEqual(await writeStackFiles(state, files('docker-compose.yml')), [
      'config/nginx/own.conf',
      'secrets/old',
    ])
    assert.equal(await contentOf('config/nginx/own.conf'), undefined)
    assert.deepEqual(await writeStackFiles(state, files('docker-compose.yml')), [])
  })

  it('leave alone what another task or the user put beside them, over any number of runs', async () => {
    const theirs = ['config/prometheus/targets/applications.json', 'config/prometheus/targets/mine.yml', 'secrets/mine']
    await writeStackFiles(state, files('config/prometheus/prometheus.yml', 'config/old'))
    for (const path of theirs) await put(path)
    await writeStackFiles(state, files('config/prometheus/prometheus.yml'))
    await writeStackFiles(state, files())
    for (const path of theirs) assert.equal(await contentOf(path), 'theirs', path)
    assert.equal(await contentOf('config/prometheus/prometheus.yml'), undefined)
  })

  it('leave alone what earlier releases swept, and what a list names that nobody wrote from here', async () => {
    await put('config/unknown')
    await writeStackFiles(state, files('config/a'))
    for (const list of ['["../outside", "/etc/passwd", "config/../journal.jsonl", "installation.json"]', '{', '7']) {
      await writeFile(join(state.stateDir, 'rendered.json'), list)
      await writeFile(join(dirname(state.stateDir), 'outside'), 'theirs')
      await writeStackFiles(state, files('config/a'))
      assert.equal(await readFile(join(dirname(state.stateDir), 'outside'), 'utf8'), 'theirs')
      assert.ok(await exists(join(state.stateDir, 'installation.json')))
      assert.equal(await contentOf('config/unknown'), 'theirs')
    }
  })

  it('are on the list before they are on the disk, so that a run that was broken off leaves nothing behind', async () => {
    // a folder where a file should be stops the run in its middle
    await mkdir(join(state.stateDir, 'config/z'), { recursive: true })
    await assert.rejects(writeStackFiles(state, files('config/a', 'config/z')))
    await writeStackFiles(state, files())
    assert.equal(await contentOf('config/a'), undefined)
    assert.deepEqual(await readdir(join(state.stateDir, 'config/z')), [])
  })

  it('are not written where a folder of ours is a link', async () => {
    await mkdir(join(dirname(state.stateDir), 'elsewhere'))
    await symlink('../elsewhere', join(state.stateDir, 'config'))
    await assert.rejects(writeStackFiles(state, files('config/a')), /is a symbolic link/)
    assert.deepEqual(await readdir(join(dirname(state.stateDir), 'elsewhere')), [])
  })
})
