import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { before, describe, it } from 'node:test'
import { root } from '../../../lib/system/checkout.ts'
import { $ } from '../../../lib/system/exec.ts'
import { newerNode, release } from '../../helpers/newer-node.ts'

const { folder, skip } = await newerNode()

describe('a Node that runs TypeScript by itself', { skip }, () => {
  // whatever this test was started with is for another Node, and for another runner of tests
  const node = (...words: string[]) =>
    $({ nothrow: true, timeout: '5m', cwd: root, env: { PATH: [folder, process.env.PATH].join(delimiter) } })`
      env --unset=NODE_OPTIONS --unset=NODE_TEST_CONTEXT node ${words}`

  before(async () => {
    const { stdout } = await node('--print', 'process.version + " " + process.features.typescript')
    assert.equal(stdout, `v${release.split('@')[1]} strip\n`)
  })

  it('runs every task as it stands in the checkout', async () => {
    for (const file of await readdir(join(root, 'tasks'))) {
      const name = file.replace('.ts', '')
      const { exitCode, stdout, stderr } = await node('lib/cli/launch.mjs', name, '--help')
      assert.equal(exitCode, 0, stderr)
      assert.match(stdout, new RegExp(`^${name}: `))
      assert.equal(stderr, '')
    }
  })

  it('runs scripts of tasks/ by itself, by their first line and through zx, with the hints of each', async () => {
    const ways: [string[], string][] = [
      [['node', 'tasks/status.ts'], 'node tasks/status.ts --help'],
      [['npx', 'zx', 'tasks/status.ts'], 'npx zx tasks/status.ts --help'],
      [['npx', 'tsx', 'tasks/status.ts'], 'npx tsx tasks/status.ts --help'],
      [['./tasks/status.ts'], './tasks/status.ts --help'],
    ]
    for (const [words, hint] of ways) {
      const [program = '', ...args] = words
      const env = { PATH: [folder, process.env.PATH].join(delimiter) }
      const help = await $({ cwd: root, env })`env --unset=NODE_OPTIONS ${program} ${args} --help`
      assert.match(help.stdout, /^status: /, program)
      const wrong = await $({ cwd: root, env, nothrow: true })`env --unset=NODE_OPTIONS ${program} ${args} --bogus`
      assert.equal(wrong.exitCode, 2, wrong.stderr)
      assert.ok(wrong.stderr.includes(`  → ${hint}`), wrong.stderr)
    }
  })

  it('runs the tests, too', async () => {
    const words = ['platform/platform', 'platform/settings', 'journal/journal', 'cli/task'].map(name =>
      join('test', 'lib', `${name}.test.ts`),
    )
    const { exitCode, stdout } = await node('test/run.mjs', 'unit', ...words)
    assert.equal(exitCode, 0, stdout)
    assert.match(stdout, /^\S pass [1-9]\d+$/m)
  })
})
