// The one test runner: `npm test` runs everything that needs neither root nor Docker, `npm run test:e2e` the rest,
// `npm run test:crash` breaks setups and teardowns off at each of their changes (the better part of an hour), `npm run test:faults` tries what a
// careless user and a failing machine do and prints a table of it, and `npm test -- FILE…` runs just those. Installs the npm packages where they
// are missing.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensurePackages, requireNode, root, typescriptArguments } from '../lib/cli/bootstrap.mjs'

requireNode()
ensurePackages()
const [kind = 'unit', ...named] = process.argv.slice(2)
const files = named.length > 0 ? named : testFiles(kind === 'unit' ? ['lib', 'tasks', 'templates'] : [kind])
// One after the other where files share an engine and its ports, in the order of their paths: e2e/host needs nothing compiled, e2e/sandbox
// the programs of the services, e2e/workflow those of a cluster, too.
const concurrency = kind === 'unit' ? [] : ['--test-concurrency=1']
const faults = kind === 'faults' ? mkdtempSync(join(tmpdir(), 'macula-faults-')) : undefined
const supply =
  kind === 'e2e' && named.length === 0 ? start(['test/supply.ts'], ['pipe', 'ignore', 'inherit']) : undefined
const [status] = await once(start(['--test', ...concurrency, ...files], 'inherit'), 'exit')
supply?.kill()
if (faults) printFaults(faults)
process.exitCode = status ?? 1

function start(words, stdio) {
  // what npm says of itself would make every task a test starts name its commands as `npm run`
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_|^INIT_CWD$/.test(name)))
  if (faults) env.FAULT_TABLE = join(faults, 'table')
  return spawn(process.execPath, [...typescriptArguments, ...words], { cwd: root, stdio, env })
}

/** Prints what helpers/fault-table.ts has collected, one row for each thing that must not happen. */
function printFaults(folder) {
  const rows = new Map()
  const kinds = new Map()
  const file = join(folder, 'table')
  for (const line of (existsSync(file) ? readFileSync(file, 'utf8') : '').split('\n').filter(Boolean)) {
    const { row, kind, tried, happened, refused, exact, crashed } = JSON.parse(line)
    if (kind !== undefined) {
      const sums = kinds.get(kind) ?? [0, 0, 0, 0]
      kinds.set(
        kind,
        [tried, refused, exact, crashed].map((count, index) => count + sums[index]),
      )
      continue
    }
    const known = rows.get(row) ?? { tried: 0, happened: 0 }
    rows.set(row, { tried: known.tried + tried, happened: known.happened + happened })
  }
  rmSync(folder, { recursive: true })
  console.log('\n| what must not happen | cases | happened |\n| --- | ---: | ---: |')
  for (const [row, { tried, happened }] of rows) console.log(`| ${row} | ${tried} | ${happened} |`)
  if (kinds.size === 0) return
  console.log(
    '\n| kind of input | tried | refused with its place | taken exactly | crashed |\n| --- | ---: | ---: | ---: | ---: |',
  )
  const total = [...kinds.values()].reduce(
    (sums, counts) => sums.map((sum, index) => sum + counts[index]),
    [0, 0, 0, 0],
  )
  for (const [kind, counts] of [...kinds, ['in all', total]]) console.log(`| ${kind} | ${counts.join(' | ')} |`)
}

function testFiles(folders) {
  return folders.flatMap(folder =>
    readdirSync(join(root, 'test', folder), { recursive: true })
      .filter(file => file.endsWith('.test.ts'))
      .sort()
      .map(file => join('test', folder, file)),
  )
}
