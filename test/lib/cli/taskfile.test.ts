import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import type { TaskDefinition } from '../../../lib/cli/task.ts'
import { checkTaskfile, readTaskfile, stepsOf } from '../../../lib/cli/taskfile.ts'
import { root } from '../../../lib/system/checkout.ts'

const scripts = readdirSync(join(root, 'tasks')).map(file => file.replace('.ts', ''))
const goTask = spawnSync('task', ['--version']).status === 0

describe('Taskfile.yml', () => {
  it('has a task for every script, and no script twice', async () => {
    const { tasks } = await readTaskfile()
    const named = Object.values(tasks).flatMap(({ cmds }) =>
      cmds.flatMap(cmd => (typeof cmd === 'string' ? [cmd.split(' ')[2] ?? ''] : [])),
    )
    assert.deepEqual(named.sort(), scripts.sort())
  })

  it('describes each task with the words of its script', async () => {
    const { tasks } = await readTaskfile()
    for (const script of scripts) {
      const { default: task }: { default: TaskDefinition } = await import(join(root, 'tasks', `${script}.ts`))
      assert.equal(task.name, script)
      assert.equal(tasks[script]?.desc, task.summary)
    }
  })

  it('has an npm script of the same name for each task', async () => {
    const { scripts: npm } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    for (const name of Object.keys((await readTaskfile()).tasks))
      assert.equal(npm[name], `node lib/cli/launch.mjs ${name}`)
  })

  it('is refused where it uses more than the small runner knows', () => {
    const text = `version: '3'\ntasks:\n  x:\n    desc: y\n    deps: [z]\n    cmds: [rm -rf /]\n`
    assert.throws(
      () => checkTaskfile(text),
      (error: { why?: string }) => /cmds\.0/.test(error.why ?? '') && /deps/.test(error.why ?? ''),
    )
  })

  it('is refused for a task that does not exist', async () => {
    const taskfile = await readTaskfile()
    assert.throws(() => stepsOf(taskfile, 'set-up'), /There is no task set-up/)
  })

  it('comes to the same commands through go-task and through npm', {
    skip: !goTask && 'go-task is not installed',
  }, async () => {
    for (const name of Object.keys((await readTaskfile()).tasks)) {
      const words = ['--yes', "it's", 'a b']
      const theirs = spawnSync('task', ['--dry', name, '--', ...words], { cwd: root, encoding: 'utf8' })
      const ours = spawnSync(process.execPath, ['lib/cli/launch.mjs', name, '--dry', ...words], {
        cwd: root,
        encoding: 'utf8',
      })
      assert.deepEqual(wordsOf(ours.stderr), wordsOf(theirs.stderr), name)
    }
  })
})

/** go-task quotes `it's` its own way; both ways are the same words to a shell. */
function wordsOf(lines: string): string[] {
  // go-task colours its lines in CI, terminal or not
  return stripVTControlCharacters(lines)
    .trim()
    .split('\n')
    .map(line => {
      const [, task = '', command = ''] = /^task: (\[[\w-]+\]) (.*)$/.exec(line) ?? []
      return `${task} ${execFileSync('bash', ['-c', `printf '%s|' ${command}`], { encoding: 'utf8' })}`
    })
}
