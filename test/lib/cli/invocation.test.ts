import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { inUsedForm, readInvocation } from '../../../lib/cli/invocation.mjs'
import { root } from '../../../lib/system/checkout.ts'

const launcher = join(root, 'lib/cli/launch.mjs')
const started = (argv: string[], { env = {}, execArgv = [] }: { env?: object; execArgv?: string[] } = {}) =>
  readInvocation({ argv: ['/usr/bin/node', ...argv], execArgv, env, ppid: 1 } as unknown as NodeJS.Process)

describe('the form of a command in hints', () => {
  const hint = 'Run `task teardown -- --dry-run`, then task platform'
  const forms: Record<string, [ReturnType<typeof started>, string]> = {
    'the launcher, as go-task calls it': [started([launcher, 'status']), hint],
    npm: [
      started([launcher, 'status'], { env: { npm_lifecycle_event: 'status', INIT_CWD: root } }),
      'Run `npm run teardown -- --dry-run`, then npm run platform',
    ],
    'npm from another directory': [
      started([launcher, 'status'], { env: { npm_lifecycle_event: 'status', INIT_CWD: '/' } }),
      `Run \`npm --prefix ${root} run teardown -- --dry-run\`, then npm --prefix ${root} run platform`,
    ],
    'a script by its first line': [
      started([launcher, './tasks/status.ts']),
      'Run `./tasks/teardown.ts --dry-run`, then npm run platform',
    ],
    'a script by its absolute path': [
      started([launcher, join(root, 'tasks/status.ts')]),
      `Run \`${root}/tasks/teardown.ts --dry-run\`, then npm run platform`,
    ],
    tsx: [
      started([join(root, 'tasks/status.ts')], {
        execArgv: ['--import', 'file:///x/node_modules/tsx/dist/loader.mjs'],
      }),
      'Run `npx tsx tasks/teardown.ts --dry-run`, then npm run platform',
    ],
    node: [started([join(root, 'tasks/status.ts')]), 'Run `node tasks/teardown.ts --dry-run`, then npm run platform'],
    zx: [
      started([join(root, 'node_modules/.bin/zx'), 'tasks/status.ts']),
      'Run `npx zx tasks/teardown.ts --dry-run`, then npm run platform',
    ],
  }
  for (const [way, [invocation, expected]] of Object.entries(forms)) {
    it(`is the one that was used: ${way}`, () => {
      assert.equal(invocation.name, 'status')
      assert.equal(inUsedForm(hint, invocation), expected)
    })
  }

  it('leaves the word task alone where no task of ours follows', () => {
    const text = 'Every task has a --help; a task called nothing has none'
    assert.equal(inUsedForm(text, started([launcher, './tasks/status.ts'])), text)
  })

  it('hands the arguments on as they are', () => {
    assert.deepEqual(started([launcher, 'logs', '--tail', '5', 'task']).args, ['--tail', '5', 'task'])
    assert.deepEqual(started([join(root, 'node_modules/.bin/zx'), 'tasks/logs.ts', 'nginx']).args, ['nginx'])
  })
})
