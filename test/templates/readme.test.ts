import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readmeTables, withTables } from '../../lib/cli/readme.ts'
import { readTaskfile } from '../../lib/cli/taskfile.ts'
import { settingNames } from '../../lib/platform/settings.ts'
import { root } from '../../lib/system/checkout.ts'
import { goodPlatform } from '../helpers/platform.ts'

const path = join(root, 'README.md')

describe('README.md', () => {
  it('has the tables that the catalogue and the Taskfile say (`UPDATE=1 npm test -- test/templates/readme.test.ts` writes them)', async () => {
    const readme = await readFile(path, 'utf8')
    const expected = withTables(readme, readmeTables(await goodPlatform(), await readTaskfile()))
    if (process.env.UPDATE) await writeFile(path, expected)
    else assert.equal(readme, expected)
  })

  it('has all of them', async () => {
    const readme = await readFile(path, 'utf8')
    for (const name of Object.keys(readmeTables(await goodPlatform(), await readTaskfile())))
      assert.ok(readme.includes(`<!-- table:${name} -->`), name)
  })

  it('names only tasks and settings that exist', async () => {
    const readme = await readFile(path, 'utf8')
    const { tasks } = await readTaskfile()
    const named = [...readme.matchAll(/`(?:task|npm run) ([a-z][a-z-]+)/g)].map(([, name = '']) => name)
    assert.deepEqual(
      named.filter(name => !(name in tasks) && !['bench', 'check', 'licences', 'test'].includes(name)),
      [],
    )
    const settings = [...readme.matchAll(/`([A-Z]+_[A-Z_]+)(?:=[^`]*)?`/g)].map(([, name = '']) => name)
    assert.deepEqual(
      settings.filter(name => !settingNames.some(known => known === name) && !name.startsWith('MACULA_')),
      [],
    )
  })
})
