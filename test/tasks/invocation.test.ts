import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'

const scripts = await readdir(join(root, 'tasks'))

describe('a script of tasks/', () => {
  let stubbed: StubbedTasks
  before(async () => {
    stubbed = await stubbedTasks()
    await stubbed.docker(workingDocker)
  })
  after(() => stubbed.remove())

  const start = (command: string, args: readonly string[], cwd: string, env = {}) =>
    spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...stubbed.environment, ...env } })

  for (const script of scripts) {
    const name = script.replace('.ts', '')
    it(`${name} is executable from another directory: help, and an unknown option`, () => {
      const path = join(root, 'tasks', script)
      const help = start(path, ['--help'], '/')
      assert.equal(help.status, 0, help.stderr)
      assert.match(help.stdout, new RegExp(`^${name}: `))
      const wrong = start(path, ['--bogus'], '/')
      assert.equal(wrong.status, 2, wrong.stderr)
      assert.match(wrong.stderr, new RegExp(`--bogus.*\n  → ${path} --help`))
    })
  }

  it('runs through tsx in the checkout, with the hints of that', () => {
    const help = start(process.execPath, ['--import', 'tsx', 'tasks/logs.ts', '--help'], root)
    assert.match(help.stdout, /^logs: /, help.stderr)
    const wrong = start(process.execPath, ['--import', 'tsx', 'tasks/logs.ts', '--bogus'], root)
    assert.equal(wrong.status, 2)
    assert.match(wrong.stderr, / {2}→ npx tsx tasks\/logs.ts --help/)
  })

  it('shows the same as the launcher: status', () => {
    const ours = start(join(root, 'tasks/status.ts'), ['--json'], '/')
    const launched = stubbed.task('status', '--json')
    assert.equal(ours.status, launched.status, ours.stderr)
    assert.equal(ours.stdout, launched.stdout)
    assert.ok(JSON.parse(ours.stdout).services.length > 5)
  })

  it('does not care for ZX_ variables, nor for a bash or a ps that are not there', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'macula-path-'))
    try {
      for (const bin of ['/usr/bin', '/usr/sbin', '/bin', '/sbin', '/usr/local/bin'])
        for (const program of await readdir(bin))
          if (!/^(ba|z|da|k|mk)sh$|^ps$/.test(program))
            await symlink(join(bin, program), join(folder, program)).catch(() => {})
      await symlink(process.execPath, join(folder, 'node')).catch(() => {})
      const env = {
        PATH: [stubbed.folder, folder].join(delimiter),
        ZX_PREFIX: 'exit 7;',
        ZX_SHELL: '/nowhere/bash',
        ZX_POSTFIX: '; exit 8',
        ZX_VERBOSE: 'true',
      }
      for (const [task, args] of [
        ['status', ['--json']],
        ['doctor', ['--json']],
      ] as const) {
        const plain = start(join(root, 'tasks', `${task}.ts`), args, root)
        const bare = start(join(root, 'tasks', `${task}.ts`), args, root, env)
        assert.equal(bare.status, plain.status, bare.stderr)
        assert.doesNotMatch(bare.stderr, /TypeError|No quote function|exit 7/)
        assert.deepEqual(Object.keys(JSON.parse(bare.stdout)), Object.keys(JSON.parse(plain.stdout)))
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
