// The one test runner: `npm test` runs everything that needs neither root nor Docker, `npm run test:e2e` the rest,
// `npm run test:crash` breaks setups and teardowns off at each of their changes (the better part of an hour), and `npm test -- FILE…` runs just those. Installs the npm packages where they are missing.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePackages, requireNode, root, typescriptArguments } from '../lib/bootstrap.mjs'

requireNode()
ensurePackages()
const [kind = 'unit', ...named] = process.argv.slice(2)
const files = named.length > 0 ? named : testFiles(kind === 'unit' ? ['lib', 'tasks', 'templates'] : [kind])
// one after the other where files share an engine and its ports
const concurrency = kind === 'unit' ? [] : ['--test-concurrency=1']
const { status } = spawnSync(process.execPath, [...typescriptArguments, '--test', ...concurrency, ...files], {
  cwd: root,
  stdio: 'inherit',
})
process.exit(status ?? 1)

function testFiles(folders) {
  return folders.flatMap(folder =>
    readdirSync(join(root, 'test', folder), { recursive: true })
      .filter(file => file.endsWith('.test.ts'))
      .sort()
      .map(file => join('test', folder, file)),
  )
}
