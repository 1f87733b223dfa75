// The one test runner: `npm test` runs everything that needs neither root nor Docker, `npm run test:e2e` the rest,
// `npm run test:crash` breaks setups and teardowns off at each of their changes (the better part of an hour), and `npm test -- FILE…` runs just those. Installs the npm packages where they are missing.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePackages, requireNode, root, typescriptArguments } from '../lib/cli/bootstrap.mjs'

requireNode()
ensurePackages()
const [kind = 'unit', ...named] = process.argv.slice(2)
const files = named.length > 0 ? named : testFiles(kind === 'unit' ? ['lib', 'tasks', 'templates'] : [kind])
// One after the other where files share an engine and its ports, in the order of their paths: e2e/host needs nothing compiled, e2e/sandbox
// the programs of the services, e2e/workflow those of a cluster, too.
const concurrency = kind === 'unit' ? [] : ['--test-concurrency=1']
const supply =
  kind === 'e2e' && named.length === 0 ? start(['test/supply.ts'], ['pipe', 'ignore', 'inherit']) : undefined
const [status] = await once(start(['--test', ...concurrency, ...files], 'inherit'), 'exit')
supply?.kill()
process.exitCode = status ?? 1

function start(words, stdio) {
  // what npm says of itself would make every task a test starts name its commands as `npm run`
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_|^INIT_CWD$/.test(name)))
  return spawn(process.execPath, [...typescriptArguments, ...words], { cwd: root, stdio, env })
}

function testFiles(folders) {
  return folders.flatMap(folder =>
    readdirSync(join(root, 'test', folder), { recursive: true })
      .filter(file => file.endsWith('.test.ts'))
      .sort()
      .map(file => join('test', folder, file)),
  )
}
