import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { bundleFolder } from '../../../lib/cli/bundle.mjs'

it('The bundle holds no translations of messages that nobody can ask for: each start would read them', async () => {
  const folder = await bundleFolder()
  assert(folder)
  const parts = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.js'))
  const translations = parts.flatMap(
    name =>
      readFileSync(join(folder, name), 'utf8').match(/^\/\/ node_modules\/zod\/.*\/locales\/(?!en\.js$).*$/gm) ?? [],
  )
  assert.deepEqual(translations, [])
})
