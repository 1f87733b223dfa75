import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { it } from 'node:test'
import type { RenderedFile } from '../../lib/platform/render.ts'
import { writeStackFiles } from '../../lib/stack/files.ts'
import { renderExample } from '../helpers/example.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { installedState } from '../helpers/things.ts'

const local = 'services: { wiki: { image: "wiki:1", x-macula: { group: tools, host: wiki, web: 80, health: / } } }'

/** Every file below a folder. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(({ parentPath, name }) => relative(folder, join(parentPath, name)))
}

it('files that other tasks and the user put beside ours outlive every start, whatever it renders', async () => {
  const state = await installedState()
  const variants: RenderedFile[][] = [
    await renderExample(),
    await renderExample({ local }),
    (await renderExample()).filter(({ path }) => !/grafana|nginx/.test(path)),
    await renderExample({ settings: { MACULA_DOMAIN: 'dev.test' } }),
  ]
  await writeStackFiles(state, variants[0] ?? [])
  const folders = new Set((await filesBelow(state.stateDir)).map(path => dirname(path)))
  const theirs = [...folders].flatMap(folder =>
    ['mine.yml', 'applications.json', '.hidden'].map(name => join(folder, name)),
  )
  for (const path of [...theirs, 'config/own/deep/file', 'cluster/kind.yaml', 'kubeconfig']) {
    await mkdir(dirname(join(state.stateDir, path)), { recursive: true })
    await writeFile(join(state.stateDir, path), path)
  }
  for (const files of [...variants, ...variants.reverse(), []]) {
    await writeStackFiles(state, files)
    const there = await filesBelow(state.stateDir)
    const deleted = theirs.filter(path => !there.includes(path))
    countFaults('files outside our manifest deleted', theirs.length, deleted.length)
    assert.deepEqual(deleted, [])
    const ours = there.filter(
      path => /^(config|secrets)\//.test(path) && !theirs.includes(path) && !path.startsWith('config/own'),
    )
    assert.deepEqual(
      ours.sort(),
      files
        .map(({ path }) => path)
        .filter(path => /^(config|secrets)\//.test(path))
        .sort(),
    )
  }
  for (const path of theirs) assert.equal(await readFile(join(state.stateDir, path), 'utf8'), path)
  await state.remove()
})
