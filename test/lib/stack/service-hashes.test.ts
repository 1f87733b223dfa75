import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { composeFileNames } from '../../../lib/stack/compose-render.ts'
import { keepHashes, serviceHashes } from '../../../lib/stack/service-hashes.ts'
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
    const stdout = example.services.map(({ name }) => `${name} ${answer}\n`).join('')
    const shell = shellAnswering({ 'docker compose config': { stdout } }, asked)
    return [(await serviceHashes(platform(hasLocalFile), shell)).get('nginx'), asked.length > 0]
  }
  const platform = (hasLocalFile = false) => ({
    ...example,
    paths: { ...example.paths, stateDir },
    compose: { ...example.compose, hasLocalFile },
  })

  it('are asked for once for the same files, and again for others, whichever changes', async () => {
    assert.deepEqual(await hashOf('1'), ['1', true])
    assert.deepEqual(await hashOf('other'), ['1', false])
    for (const file of Object.values(composeFileNames)) {
      await writeFile(join(stateDir, file), 'changed\n')
      assert.deepEqual(await hashOf(file), [file, true])
      assert.deepEqual(await hashOf('other'), [file, false])
    }
  })

  it('are not asked for after a start, whose containers have them; after one of some services they are', async () => {
    const labels = example.services.map(({ name }) => [name, 'label'] as const)
    await keepHashes(platform(), new Map(labels.slice(1)))
    assert.deepEqual(await hashOf('1'), ['1', true])
    await rm(record())
    await keepHashes(platform(), new Map(labels))
    assert.deepEqual(await hashOf('1'), ['label', false])
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
