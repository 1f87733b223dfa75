import assert from 'node:assert/strict'
import { appendFile, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { PlatformError } from '../../../lib/system/errors.ts'
import { processesRunning } from '../../../lib/system/processes.ts'
import { NotYet, waitFor } from '../../../lib/system/wait.ts'
import { journalFolder, owner } from '../../helpers/journal-folder.ts'

describe('journal', () => {
  const { place, open, machine, changeEverything } = journalFolder()

  it('of steps that run at once has one header and every record, and undoes them all', async () => {
    const before = await machine()
    const files = Array.from({ length: 20 }, (_, index) => join(place.etc, 'macula', `file-${index}`))
    await Promise.all(files.map((file, index) => open(undefined, `step-${index}`).writeFile(file, 'text', { owner })))
    const lines = (await readFile(join(place.stateDir, 'journal.jsonl'), 'utf8')).trimEnd().split('\n')
    assert.equal(lines.filter(line => line.includes('"journal":')).length, 1)
    assert.deepEqual(
      files.filter(file => !lines.some(line => line.includes(`"${file}"`))),
      [],
    )
    await open().undo({ scope: '' })
    assert.deepEqual(await machine(), before)
  })

  describe('of a daemon', { skip: process.platform !== 'linux' && 'reads /proc' }, () => {
    const command = ['sleep', `300.${process.pid}`]
    const running = async () => (await processesRunning(command)).length
    const start = (name = 'sleeper') => open().startProcess({ name, command, ready: async () => true })
    afterEach(() => open().undo({ scope: '' }))

    it('starts it once, replaces it, and ends it', async () => {
      assert.equal(await start(), 'created')
      assert.equal(await start(), 'unchanged')
      assert.equal(await running(), 1)
      const other = ['sleep', `301.${process.pid}`]
      assert.equal(await open().startProcess({ name: 'sleeper', command: other, ready: async () => true }), 'updated')
      assert.equal(await running(), 0)
      assert.equal(await open().endProcess('sleeper'), 'removed')
      assert.equal((await processesRunning(other)).length, 0)
      assert.equal(await open().endProcess('sleeper'), 'unchanged')
    })

    it('finds one whose start was broken off before its pid was noted', async () => {
      await start()
      // on a busy machine it may still be the program that starts it
      await waitFor(async () => ((await running()) === 1 ? true : new NotYet('not there')), {
        timeoutMs: 10_000,
        onTimeout: last => new PlatformError(last),
      })
      const path = join(place.stateDir, 'journal.jsonl')
      const lines = (await readFile(path, 'utf8')).trimEnd().split('\n')
      await writeFile(path, `${lines.filter(line => !line.includes('"kind":"started"')).join('\n')}\n`)
      const begun = join(place.stateDir, 'journal.begun')
      await writeFile(begun, `${(await readFile(begun, 'utf8')).split('\n')[0]}\n`)
      assert.deepEqual(await open().undo(), [{ what: 'sleeper', outcome: 'ended' }])
      assert.equal(await running(), 0)
    })

    it('shows the last words of one that ends at once', async () => {
      const failing = ['sh', '-c', 'echo port is taken >&2; exit 2']
      const error = await open()
        .startProcess({ name: 'failing', command: failing, ready: async () => false })
        .catch(caught => caught)
      assert.ok(error instanceof PlatformError)
      assert.equal(error.message, 'failing ended at once')
      assert.equal(error.why, 'port is taken')
    })
  })

  describe('file', () => {
    const path = () => join(place.stateDir, 'journal.jsonl')
    beforeEach(() => changeEverything(open()))

    it('may end in a line that a crash cut off before its change began', async () => {
      await appendFile(path(), '{"id":"1234","kind":"pa')
      assert.equal(await open().writeFile(join(place.etc, 'more'), '', { owner }), 'created')
      await open().undo()
      assert.deepEqual((await readdir(place.etc)).sort(), ['link.conf', 'resolv.conf'])
    })

    for (const [name, damage, message] of [
      ['truncated', async () => truncate(path(), (await stat(path())).size - 20), /is damaged/],
      [
        'short of whole lines',
        async () => writeFile(path(), (await readFile(path(), 'utf8')).split('\n').slice(0, 3).join('\n').concat('\n')),
        /is damaged/,
      ],
      [
        'garbled',
        async () => writeFile(path(), (await readFile(path(), 'utf8')).replace('"kind":"path"', '"kind":')),
        /is damaged at .*:4/,
      ],
      [
        'from a newer version',
        async () => writeFile(path(), (await readFile(path(), 'utf8')).replace('"version":1', '"version":2')),
        /newer version/,
      ],
    ] as const) {
      it(`that is ${name} is one clear error, and nothing is changed`, async () => {
        await damage()
        const before = await machine()
        const actions = [
          () => open().undo(),
          () => open().undo({ dryRun: true }),
          () => open().writeFile(join(place.etc, 'more'), '', { owner }),
        ]
        for (const action of actions) {
          const error = await action().catch(caught => caught)
          assert.ok(error instanceof PlatformError, String(error))
          assert.match(error.message, message)
          assert.ok(error.hint)
        }
        assert.deepEqual(await machine(), before)
      })
    }
  })
})
