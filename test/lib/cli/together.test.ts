import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { createBoard } from '../../../lib/cli/board.ts'
import { createOutput } from '../../../lib/cli/output.ts'
import { runTask, type TaskContext, type TaskDefinition } from '../../../lib/cli/task.ts'
import { readTimings } from '../../../lib/cli/timings.ts'
import { runTogether, type Together } from '../../../lib/cli/together.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { $ } from '../../../lib/system/exec.ts'

type Run = (context: TaskContext) => Promise<void>

describe('steps that run together', () => {
  let stateDir: string
  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'macula-together-'))
    await writeFile(join(stateDir, 'installation.json'), '{}')
  })
  after(() => rm(stateDir, { recursive: true }))

  /** Runs these scripts, all at once but where one waits for others, as `task setup` would. */
  async function together(scripts: Record<string, { after?: string[]; run: Run }>, more: Partial<Together> = {}) {
    let text = ''
    const stream = new Writable({
      write(chunk, _, done) {
        text += chunk
        done()
      },
    })
    const options = { stdout: stream, stderr: stream, interactive: false, color: false, spinner: false }
    const cancellation = new AbortController()
    const interruptions: (() => Promise<void>)[] = []
    const boards: ReturnType<typeof createBoard>[] = []
    const definition = (name: string, run: Run): TaskDefinition => ({
      name,
      summary: '',
      leaves: [],
      undo: '',
      options: {},
      run,
    })
    const steps = Object.entries(scripts).map(([name, { after = [] }]) => ({
      name,
      after,
      scripts: [{ task: name, script: name, words: [] }],
    }))
    const whole = definition('setup', context =>
      runTogether({ task: 'setup', steps, context, rootScripts: [], reason: '', ...more }),
    )
    const ended = runTask(whole, [], {
      environment: { MACULA_STATE_DIR: stateDir },
      showHelp: () => {},
      createOutput: async () => createOutput(options),
      createBoard: async () => {
        const board = createBoard(options)
        boards.push(board)
        return board
      },
      loadTask: async name => definition(name, scripts[name]!.run),
      onInterrupt: action => interruptions.push(action),
      cancellation,
    })
    const interrupt = async () => {
      for (const board of boards) board.interrupted()
      for (const action of interruptions) await action()
      cancellation.abort()
    }
    return { ended, interrupt, text: () => text }
  }

  const sleeps =
    (seconds: number): Run =>
    async ({ out }) =>
      out.step('Sleep', async () => {
        await $`sleep ${seconds}`
        return 'created'
      })
  const fails: Run = async () => {
    throw new PlatformError('The disk is full', { exitCode: 2 })
  }

  it('print one block each, never one line among those of another', async () => {
    const lines: Run = async ({ out }) => {
      for (const line of ['first', 'second', 'third']) {
        out.say(line)
        await $`sleep 0.05`
      }
    }
    const { ended, text } = await together({ one: { run: lines }, two: { run: lines } })
    assert.equal(await ended, 0)
    const block = (name: string) => `${name}\nfirst\nsecond\nthird\n`
    assert.ok([block('one') + block('two'), block('two') + block('one')].includes(text()), text())
  })

  it('go on beside one that fails, and the end says what is done, what failed and what was not begun', async () => {
    const { ended, text } = await together({
      broken: { run: fails },
      beside: { run: sleeps(0.3) },
      behind: { after: ['broken'], run: sleeps(0) },
    })
    assert.equal(await ended, 2)
    assert.match(text(), /^broken\n✗ The disk is full\n/)
    assert.match(text(), /beside\n✓ Sleep {2}created/)
    assert.match(text(), /✗ 1 step of 3 failed: broken\n {2}done: beside\n {2}not begun: behind\n {2}→ task setup/)
  })

  it('are ended at the deadline where one hangs, which is named', async () => {
    const started = Date.now()
    const { ended, text } = await together(
      { hangs: { run: sleeps(30) }, never: { run: () => new Promise<void>(() => {}) }, beside: { run: sleeps(0.1) } },
      { deadlineMs: 500 },
    )
    assert.equal(await ended, 1)
    assert.ok(Date.now() - started < 5000)
    assert.match(text(), /✗ hangs did not end within 0\.5 s, and was ended/)
    assert.match(text(), /2 steps of 3 failed: hangs, never\n {2}done: beside/)
  })

  it('are all ended when interrupted, are shown as that and kept as that, and nothing more is begun', async () => {
    const { ended, interrupt, text } = await together({
      one: { run: sleeps(30) },
      two: { run: sleeps(30) },
      behind: { after: ['one'], run: sleeps(0) },
    })
    await new Promise(resolve => setTimeout(resolve, 300))
    const started = Date.now()
    await interrupt()
    await ended
    assert.ok(Date.now() - started < 3000)
    assert.match(text(), /one\n✗ Sleep {2}interrupted.*\ntwo\n✗ Sleep {2}interrupted/)
    assert.doesNotMatch(text(), /^behind$/m)
    const last = (await readTimings({ stateDir })).at(-1)
    assert.deepEqual(
      last?.steps.map(({ name, state }) => [name, state]),
      [
        ['one', 'interrupted'],
        ['two', 'interrupted'],
      ],
    )
  })

  it('are kept with what each took and whether it changed something', async () => {
    const { ended } = await together({ quick: { run: sleeps(0.2) }, idle: { after: ['quick'], run: async () => {} } })
    await ended
    const [quick, idle] = (await readTimings({ stateDir })).at(-1)?.steps ?? []
    assert.deepEqual([quick?.changed, quick?.state, idle?.changed, idle?.after], [true, 'done', false, ['quick']])
    assert.ok(quick!.end - quick!.start >= 0.19 && idle!.start >= quick!.end)
  })

  it('end as they did where the machine does not keep how long they took, and a warning says so', async () => {
    const file = join(stateDir, 'timings.jsonl')
    await rm(file, { force: true })
    // nobody can put a file in place of a folder, root neither
    await mkdir(join(file, 'folder'), { recursive: true })
    try {
      for (const { run, code } of [
        { run: sleeps(0), code: 0 },
        { run: fails, code: 2 },
      ]) {
        const { ended, text } = await together({ one: { run } })
        assert.equal(await ended, code)
        assert.match(text(), /! How long the steps took is not kept: .*timings\.jsonl/)
        if (code !== 0) assert.match(text(), /✗ The disk is full[\s\S]*✗ 1 step of 1 failed: one/)
      }
    } finally {
      await rm(file, { recursive: true })
    }
  })

  it('say so while they take more than twice the usual time', async () => {
    for (let round = 0; round < 3; round += 1) await (await together({ slow: { run: sleeps(0.1) } })).ended
    const { ended, text } = await together({ slow: { run: sleeps(1.8) } })
    await ended
    assert.match(text(), /^ {4}slow: takes long: \d s so far, usually 0\.\d s\nslow\n✓/)
  })
})
