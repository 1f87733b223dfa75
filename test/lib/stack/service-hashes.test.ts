import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { composeFileNames } from '../../../lib/stack/compose-render.ts'
import { serviceHashes } from '../../../lib/stack/service-hashes.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { shellAnswering } from '../../helpers/shell.ts'

const example = await goodPlatform()

describe("Compose's hashes of the services", () => {
  let stateDir = ''
  const record = () => join(stateDir, 'compose-hashes.json')
  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'macula-hashes-'))
  })
  after(() => rm(stateDir, { recursive: true }))
  beforeEach(async () => {
    await rm(record(), { force: true })
    for (const file of Object.values(composeFileNames)) await writeFile(join(stateDir, file), `${file}\n`)
  })

  const asked: string[] = []
  /** What is said of a service, and whether Compose was asked; its answer is `answer`. */
  async function hashOf(answer: string, hasLocalFile = false): Promise<[hash: string | undefined, asked: boolean]> {
    asked.length = 0
    const platform = {
      ...example,
      paths: { ...example.paths, stateDir },
      compose: { ...example.compose, hasLocalFile },
    }
    const shell = shellAnswering({ 'docker compose config': { stdout: `nginx ${answer}\nloki 2\n` } }, asked)
    return [(await serviceHashes(platform, shell)).get('nginx'), asked.length > 0]
  }

  it('are asked for once for the same files, and again for others, whichever changes', async () => {
    assert.deepEqual(await hashOf('1'), ['1', true])
    assert.deepEqual(await hashOf('other'), ['1', false])
    for (const file of Object.values(composeFileNames)) {
      await writeFile(join(stateDir, file), 'changed\n')
      assert.deepEqual(await hashOf(file), [file, true])
      assert.deepEqual(await hashOf('other'), [file, false])
    }
  })

  it('are asked for each time where a file of the user may read others', async () => {
    assert.deepEqual(await hashOf('1', true), ['1', true])
    assert.deepEqual(await hashOf('2', true), ['2', true])
  })

  it('are asked for where what was kept was cut off, or is something else', async () => {
    await hashOf('1')
    for (const content of ['', '{"files":', 'null', '{"files":"x","services":null}', '[]']) {
      await writeFile(record(), content)
      assert.deepEqual(await hashOf('2'), ['2', true], content)
    }
  })
})
