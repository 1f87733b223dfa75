import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import type { TaskDefinition } from '../../../lib/cli/task.ts'
import {
  checkTaskfile,
  dryRun,
  graphOf,
  publicNames,
  readTaskfile,
  stepsOf,
  workflowOf,
} from '../../../lib/cli/taskfile.ts'
import { root } from '../../../lib/system/checkout.ts'

const scripts = readdirSync(join(root, 'tasks')).map(file => file.replace('.ts', ''))
const goTask = spawnSync('task', ['--version']).status === 0

describe('Taskfile.yml', () => {
  it('has a task for every script, and no script twice', async () => {
    const { tasks } = await readTaskfile()
    const open = publicNames({ tasks }).map(name => tasks[name]!)
    const named = open.flatMap(({ cmds }) =>
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
    for (const name of publicNames(await readTaskfile())) assert.equal(npm[name], `node lib/cli/launch.mjs ${name}`)
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
    assert.throws(() => workflowOf(taskfile, 'set-up'), /There is no task set-up/)
    assert.throws(() => workflowOf(taskfile, 'setup:dns'), /There is no task setup:dns/)
  })

  it('is refused for a circle, and for a name that no task has', () => {
    const step = (deps: string) => `{ internal: true, run: once, deps: [${deps}], cmds: [{ task: x }] }`
    const text = (one: string, other: string) =>
      `version: '3'\ntasks:\n  x: { desc: y, cmds: [] }\n  'g:a': ${step(one)}\n  'g:b': ${step(other)}\n`
    const why = (one: string, other: string) => {
      try {
        checkTaskfile(text(one, other))
        return ''
      } catch (error) {
        return (error as { why?: string }).why
      }
    }
    assert.equal(why("'g:b'", ''), '')
    assert.equal(why("'g:b'", "'g:a'"), 'Taskfile.yml: tasks.g:a: waits for itself: g:a → g:b → g:a')
    assert.equal(why("'g:a'", ''), 'Taskfile.yml: tasks.g:a: waits for itself: g:a → g:a')
    assert.equal(why("'g:c'", ''), 'Taskfile.yml: tasks.g:a: there is no task g:c')
    assert.match(why('x', '') ?? '', /^$/)
  })

  it('is refused where a public task waits for another, or a step may run twice', () => {
    const why = (task: string) => () =>
      checkTaskfile(`version: '3'\ntasks:\n  x: { desc: y, cmds: [] }\n  z: ${task}\n`)
    assert.throws(why('{ desc: y, deps: [x], cmds: [] }'), (error: { why?: string }) => /deps/.test(error.why ?? ''))
    assert.throws(why('{ internal: true, cmds: [] }'), (error: { why?: string }) => /z\.run/.test(error.why ?? ''))
  })

  it('has one graph for setup, whose end waits for every step', async () => {
    const steps = graphOf(await readTaskfile(), 'setup')
    const waited = new Set(steps.flatMap(({ after }) => after))
    const { name: last = '' } = steps.at(-1) ?? {}
    const reached = new Set<string>()
    const reach = (name: string) => {
      reached.add(name)
      for (const other of steps.find(step => step.name === name)?.after ?? []) reach(other)
    }
    reach(last)
    assert.deepEqual(
      steps.map(({ name }) => name).filter(name => !reached.has(name)),
      [],
    )
    assert.ok(!waited.has(last))
    assert.ok(steps.every(({ scripts }) => scripts.length === 1))
  })

  it('has the same graph for go-task', { skip: !goTask && 'go-task is not installed' }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'macula-graph-'))
    try {
      const taskfile = await readTaskfile()
      const last = Object.keys(taskfile.tasks).at(-1) ?? ''
      // what is internal cannot be named on go-task's command line
      const includes = { ours: { taskfile: join(root, 'Taskfile.yml'), dir: root, flatten: true } }
      const content = { version: '3', includes, tasks: { all: { deps: [last] } } }
      writeFileSync(join(folder, 'Taskfile.yml'), JSON.stringify(content))
      const { stderr } = spawnSync('task', ['--dir', folder, '--dry', 'all', '--', '--yes'], { encoding: 'utf8' })
      const lines = stripVTControlCharacters(stderr).trim().split('\n')
      assert.deepEqual(lines.sort(), dryRun(stepsOf(taskfile, last), ['--yes']).sort())
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('comes to the same commands through go-task and through npm', {
    skip: !goTask && 'go-task is not installed',
  }, async () => {
    for (const name of publicNames(await readTaskfile())) {
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
