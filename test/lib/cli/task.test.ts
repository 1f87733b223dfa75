import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { createOutput } from '../../../lib/cli/output.ts'
import { defineTask, runTask, type TaskDefinition } from '../../../lib/cli/task.ts'
import { badInput, PlatformError } from '../../../lib/system/errors.ts'
import { table } from '../../../lib/system/text.ts'

function collector() {
  let text = ''
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += chunk
      done()
    },
  })
  return { stream, text: () => text }
}

async function runWith(task: TaskDefinition, words: string[]) {
  const stdout = collector()
  const stderr = collector()
  const exitCode = await runTask(task, words, {
    environment: {},
    showHelp: text => stdout.stream.write(text),
    createOutput: async () =>
      createOutput({ stdout: stdout.stream, stderr: stderr.stream, interactive: false, color: false, spinner: false }),
    onInterrupt: () => {},
  })
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() }
}

const example = (run: TaskDefinition['run']): TaskDefinition =>
  defineTask({
    name: 'example',
    summary: 'Do an example',
    replaces: 'example.sh',
    leaves: ['a file'],
    undo: 'delete it',
    options: { name: { type: 'string', value: 'NAME', help: 'who' } },
    run,
  })

describe('an interrupted step', () => {
  it('is shown as that, and nothing of what it still runs into', async () => {
    const { stream, text } = collector()
    const surroundings = { stdout: stream, stderr: stream, interactive: false, color: false, spinner: false }
    const out = createOutput(surroundings)
    let fail = (_: Error) => {}
    const step = out.step('Install a thing', () => new Promise<string>((_, reject) => (fail = reject)))
    out.interrupted()
    fail(new PlatformError('`apt-get` was ended by a signal'))
    await assert.rejects(step)
    out.error(new PlatformError('`apt-get` was ended by a signal'))
    assert.match(text(), /^✗ Install a thing {2}interrupted {2}\d\.\d s\n$/)
  })
})

describe('a long step without a spinner', () => {
  it('says every half minute what it does, until it ends', async context => {
    context.mock.timers.enable({ apis: ['setInterval'] })
    const { stream, text } = collector()
    const out = createOutput({ stdout: stream, stderr: stream, interactive: false, color: false, spinner: false })
    let finish = (_: string) => {}
    const step = out.step('Build', ({ update }) => {
      update('compiling one')
      update('compiling two')
      return new Promise<string>(resolve => (finish = resolve))
    })
    context.mock.timers.tick(30_000)
    finish('created')
    await step
    context.mock.timers.tick(30_000)
    assert.match(text(), /^ {4}compiling two {2}\d\.\d s\n✓ Build {2}created {2}\d\.\d s\n$/)
  })
})

describe('a task', () => {
  it('explains itself: options, what it leaves, what undoes it', async () => {
    const { exitCode, stdout } = await runWith(
      example(async () => assert.fail('it ran')),
      ['--help'],
    )
    assert.equal(exitCode, 0)
    for (const words of [
      'Do an example',
      'Replaces: example.sh',
      '--name NAME',
      '--yes',
      '--verbose',
      '- a file',
      'Undo: delete it',
    ])
      assert.ok(stdout.includes(words), words)
  })

  it('offers no confirmation and no waiting where it changes nothing, and takes both all the same', async () => {
    const looks = { ...example(async () => {}), leaves: [] }
    const { stdout } = await runWith(looks, ['--help'])
    assert.doesNotMatch(stdout, /--yes|--wait/)
    const { exitCode } = await runWith(looks, ['--yes', '--wait'])
    assert.equal(exitCode, 0)
  })

  it('ends with 0 and tells each step with its outcome', async () => {
    const { exitCode, stdout, stderr } = await runWith(
      example(async ({ options, out }) => {
        await out.step(`Greet ${options.name}`, async () => 'created')
        out.result('hello')
        out.summary('Next: wave')
      }),
      ['--name', 'you'],
    )
    assert.equal(exitCode, 0)
    assert.equal(stdout, 'hello\n')
    assert.match(stderr, /^✓ Greet you {2}created {2}\d+\.\d s\nNext: wave\n$/)
  })

  it('says that there was nothing to do when every step left things as they were', async () => {
    const { stderr } = await runWith(
      example(async ({ out }) => {
        await out.step('Look', async () => 'unchanged')
        out.summary('All is well')
      }),
      [],
    )
    assert.match(stderr, /Nothing to do\. All is well\n$/)
  })

  it('shows an expected failure as what, why and what to do, with its exit code and no stack', async () => {
    const { exitCode, stderr } = await runWith(
      example(async ({ out }) => {
        await out.step('Try', async () => {
          throw new PlatformError('Port 127.0.0.1:80 is taken', {
            why: 'by apache2 (pid 7)',
            hint: 'systemctl stop apache2',
          })
        })
      }),
      [],
    )
    assert.equal(exitCode, 1)
    assert.match(
      stderr,
      /^✗ Try .*\n✗ Port 127\.0\.0\.1:80 is taken\n {2}by apache2 \(pid 7\)\n {2}→ systemctl stop apache2\n$/,
    )
  })

  it('ends with 2 on bad input, and lists every problem', async () => {
    const { exitCode, stderr } = await runWith(
      example(async () => {
        throw badInput('Wrong', [
          { where: 'A', what: 'is bad' },
          { where: 'B', what: 'is worse' },
        ])
      }),
      [],
    )
    assert.equal(exitCode, 2)
    assert.match(stderr, /A: is bad\n {2}B: is worse/)
  })

  it('ends with 2 on an option it does not have, and says where help is', async () => {
    const { exitCode, stderr } = await runWith(
      example(async () => assert.fail('it ran')),
      ['--nmae', 'x'],
    )
    assert.equal(exitCode, 2)
    assert.match(stderr, /task example -- --help/)
  })

  it('refuses words it has no use for', async () => {
    assert.equal(
      (
        await runWith(
          example(async () => assert.fail('it ran')),
          ['word'],
        )
      ).exitCode,
      2,
    )
  })

  it('keeps the stack of an internal error', async () => {
    const { exitCode, stderr } = await runWith(
      example(async () => {
        throw new TypeError('x is not a function')
      }),
      [],
    )
    assert.equal(exitCode, 1)
    assert.match(stderr, /an internal error\n {2}TypeError: x is not a function\n +at /)
  })
})

describe('table', () => {
  it('aligns its columns and ignores colours in their width', () => {
    assert.equal(
      table(
        ['A', 'B'],
        [
          ['\u001b[31mlong\u001b[39m', 'x'],
          ['s', 'y'],
        ],
      ),
      'A     B\n\u001b[31mlong\u001b[39m  x\ns     y',
    )
  })
})
