import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { before, describe, it } from 'node:test'
import { pathsOf } from '../../../lib/platform/settings.ts'
import { ensureBuilt } from '../../../lib/supply/cache.ts'
import { root } from '../../../lib/system/checkout.ts'
import { messageOf } from '../../../lib/system/errors.ts'
import { ask, run } from '../../../lib/system/exec.ts'

/** The line of Node that most users have by now, as npm packages carry it. */
const release = `node-linux-${process.arch}@24.21.0`

/** Folder of that Node's program, or why it cannot be had. */
async function newerNode(): Promise<{ folder: string; skip: string | false }> {
  if (process.platform !== 'linux') return { folder: '', skip: 'only Linux has it as a package' }
  const build = async (folder: string) => {
    const { stdout } = await run(['npm', 'pack', release, '--silent', '--pack-destination', folder])
    await run(['tar', '--extract', '--file', join(folder, stdout.trim()), '--directory', folder, '--strip', '1'])
  }
  return ensureBuilt({ name: 'node', inputs: release, build }, { cacheDir: pathsOf().cacheDir }).then(
    folder => ({ folder: join(folder, 'bin'), skip: false as const }),
    error => ({ folder: '', skip: `${release} cannot be had: ${messageOf(error)}` }),
  )
}

const { folder, skip } = await newerNode()

describe('a Node that runs TypeScript by itself', { skip }, () => {
  // whatever this test was started with is for another Node, and for another runner of tests
  const node = (...words: string[]) =>
    ask(['env', '--unset=NODE_OPTIONS', '--unset=NODE_TEST_CONTEXT', 'node', ...words], {
      cwd: root,
      env: { PATH: [folder, process.env.PATH].join(delimiter) },
    })

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

  it('runs the tests, too', async () => {
    const words = ['platform/platform', 'platform/settings', 'journal/journal', 'cli/task'].map(name =>
      join('test', 'lib', `${name}.test.ts`),
    )
    const { exitCode, stdout } = await node('test/run.mjs', 'unit', ...words)
    assert.equal(exitCode, 0, stdout)
    assert.match(stdout, /^\S pass [1-9]\d+$/m)
  })
})
