import assert from 'node:assert/strict'
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { PlatformError } from '../../lib/errors.ts'
import { ask, type Runner, run } from '../../lib/exec.ts'
import { stateOf } from '../../lib/files.ts'
import { type Journal, openJournal } from '../../lib/journal.ts'
import type { Privilege } from '../../lib/privilege.ts'
import { processesRunning } from '../../lib/processes.ts'

// everything happens in a folder of our own, so our own rights are enough
const ourselves: Privilege = { run, ask }
const owner = { uid: userInfo().uid, gid: userInfo().gid }

describe('journal', () => {
  let folder: string
  let etc: string
  let stateDir: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-journal-'))
    etc = join(folder, 'etc')
    stateDir = join(folder, 'state')
    await mkdir(etc)
    await writeFile(join(etc, 'resolv.conf'), 'nameserver 192.0.2.1\n', { mode: 0o640 })
    await chmod(join(etc, 'resolv.conf'), 0o640)
    await symlink('../run/stub.conf', join(etc, 'link.conf'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  const open = (privilege = ourselves, scope = 'test', dryRun = false): Journal =>
    openJournal({ stateDir, privilege, scope, dryRun })
  const resolvConf = () => join(etc, 'resolv.conf')

  /** Every path below etc with all that undo has to put back. */
  async function machine(): Promise<Record<string, unknown>> {
    const paths = await readdir(etc, { recursive: true })
    return Object.fromEntries(await Promise.all(paths.sort().map(async path => [path, await stateOf(join(etc, path))])))
  }

  async function changeEverything(journal: Journal): Promise<void> {
    await journal.writeFile(join(etc, 'macula', 'deep', 'dnsmasq.conf'), 'port=53\n', { owner })
    await journal.writeFile(resolvConf(), 'nameserver 127.0.0.1\n', { owner })
    await journal.writeFile(join(etc, 'link.conf'), 'no link any more\n', { owner })
    await journal.link(join(etc, 'new.conf'), 'resolv.conf')
    await journal.writeFile(resolvConf(), 'nameserver 127.0.0.2\n', { mode: 0o600, owner })
  }

  it('puts bytes, modes, links and folders back', async () => {
    const before = await machine()
    await changeEverything(open())
    assert.equal(await readFile(resolvConf(), 'utf8'), 'nameserver 127.0.0.2\n')
    assert.equal((await stat(resolvConf())).mode & 0o777, 0o600)
    const undone = await open().undo({ scope: '' })
    assert.deepEqual(await machine(), before)
    assert.deepEqual(
      undone.map(({ what, outcome }) => `${what.slice(etc.length)} ${outcome}`),
      [
        '/new.conf removed',
        '/link.conf restored',
        '/resolv.conf restored',
        '/macula/deep/dnsmasq.conf removed',
        '/macula/deep removed',
        '/macula removed',
      ],
    )
    assert.deepEqual(await open().undo({ scope: '' }), [])
  })

  it('leaves what is right already, and records nothing for it', async () => {
    await changeEverything(open())
    const recorded = await readFile(join(stateDir, 'journal.jsonl'))
    assert.equal(await open().link(join(etc, 'new.conf'), 'resolv.conf'), 'unchanged')
    assert.equal(await open().writeFile(resolvConf(), 'nameserver 127.0.0.2\n', { mode: 0o600, owner }), 'unchanged')
    assert.deepEqual(await readFile(join(stateDir, 'journal.jsonl')), recorded)
    assert.equal((await stat(join(stateDir, 'journal.jsonl'))).mode & 0o777, 0o600)
  })

  it('survives being broken off at every single command, before it or after it', async () => {
    const before = await machine()
    const total = await countCommands(changeEverything)
    assert.ok(total >= 7, `${total} commands`)
    for (let index = 0; index < total; index++) {
      for (const when of ['before', 'after'] as const) {
        for (const then of ['undo', 'again'] as const) {
          const name = `broken off ${when} command ${index}, then ${then}`
          await assert.rejects(changeEverything(open(brokenOff(index, when))), /broken off/, name)
          if (then === 'again') {
            await changeEverything(open())
            assert.equal(await readFile(resolvConf(), 'utf8'), 'nameserver 127.0.0.2\n', name)
          }
          const undone = await open().undo({ scope: '' })
          assert.deepEqual(await machine(), before, name)
          assert.deepEqual(
            undone.filter(({ outcome }) => /^(left|failed)/.test(outcome)),
            [],
            name,
          )
        }
      }
    }
  })

  it('survives an undo that is broken off at every single command', async () => {
    const before = await machine()
    const total = await countCommands(async journal => void (await journal.undo({ scope: '' })), changeEverything)
    for (let index = 0; index < total; index++) {
      await changeEverything(open())
      await open(brokenOff(index, 'after'))
        .undo({ scope: '' })
        .catch(() => {})
      await open().undo({ scope: '' })
      assert.deepEqual(await machine(), before, `broken off at ${index}`)
    }
  })

  it('leaves what somebody else changed since, says so, and takes the rest back', async () => {
    await changeEverything(open())
    await writeFile(resolvConf(), 'nameserver 192.0.2.99\n')
    await writeFile(join(etc, 'macula', 'notes'), 'mine')
    const undone = await open().undo({ scope: '' })
    const left = undone.filter(({ outcome }) => outcome.startsWith('left'))
    assert.deepEqual(
      left.map(({ what, outcome }) => [what.slice(etc.length), outcome]),
      [
        ['/resolv.conf', 'left: changed since by somebody else'],
        ['/macula', 'left: not empty'],
      ],
    )
    assert.equal(await readFile(resolvConf(), 'utf8'), 'nameserver 192.0.2.99\n')
    assert.equal(await readFile(join(etc, 'macula', 'notes'), 'utf8'), 'mine')
    assert.equal((await stateOf(join(etc, 'link.conf'))).kind, 'link')
    // what was left is said again, and taken back when it is ours again
    assert.equal((await open().undo({ scope: '' })).length, 2)
    await writeFile(resolvConf(), 'nameserver 127.0.0.2\n')
    await chmod(resolvConf(), 0o600)
    await open().undo({ scope: '' })
    assert.equal(await readFile(resolvConf(), 'utf8'), 'nameserver 192.0.2.1\n')
  })

  it('gives back what somebody else wrote between two of our writes', async () => {
    await open().writeFile(resolvConf(), 'ours\n', { mode: 0o640, owner })
    await writeFile(resolvConf(), 'theirs\n')
    await open().writeFile(resolvConf(), 'ours again\n', { mode: 0o640, owner })
    await open().undo({ scope: '' })
    assert.equal(await readFile(resolvConf(), 'utf8'), 'theirs\n')
  })

  it('takes a half-written file for ours, because a mounted file cannot be written in one step', async () => {
    await open().writeFile(resolvConf(), 'nameserver 127.0.0.1\n', { mode: 0o640, owner })
    await truncate(resolvConf(), 7)
    await open().undo({ scope: '' })
    assert.equal(await readFile(resolvConf(), 'utf8'), 'nameserver 192.0.2.1\n')
  })

  it('takes back one scope with those below it, and no other', async () => {
    await open(ourselves, 'routes/data').writeFile(join(etc, 'data'), '', { owner })
    await open(ourselves, 'routes/data/postgres').writeFile(join(etc, 'postgres'), '', { owner })
    await open(ourselves, 'routes/database').writeFile(join(etc, 'database'), '', { owner })
    await open(ourselves, 'routes/data').undo()
    assert.deepEqual((await readdir(etc)).sort(), ['database', 'link.conf', 'resolv.conf'])
  })

  it('only tells in a dry run, forwards and backwards', async () => {
    const before = await machine()
    const dry = open(ourselves, 'test', true)
    await changeEverything(dry)
    assert.deepEqual(await machine(), before)
    assert.deepEqual(await readdir(folder), ['etc'])
    assert.ok(dry.planned.some(({ what }) => what === `change ${resolvConf()}`))
    await changeEverything(open())
    const changed = await machine()
    const told = await open().undo({ scope: '', dryRun: true })
    assert.deepEqual(await machine(), changed)
    assert.deepEqual(await open().undo({ scope: '' }), told)
  })

  it('runs commands of undo when everything recorded after them is back', async () => {
    const marker = join(folder, 'seen')
    const command = ['sh', '-c', 'ls "$1" > "$2"', 'sh', etc, marker]
    await open().afterUndo(command)
    await open().afterUndo(command)
    await open().writeFile(join(etc, 'unit'), '', { owner })
    const undone = await open().undo()
    assert.equal(await readFile(marker, 'utf8'), 'link.conf\nresolv.conf\n')
    assert.deepEqual(
      undone.map(({ outcome }) => outcome),
      ['removed', 'done'],
    )
  })

  it('goes on after a change that cannot be taken back, and keeps its record', async () => {
    await open().afterUndo(['false'])
    await open().writeFile(join(etc, 'unit'), '', { owner })
    const [file, command] = await open().undo()
    assert.equal(file?.outcome, 'removed')
    assert.match(command?.outcome ?? '', /^failed: `false` failed with exit code 1/)
    assert.equal((await open().undo()).length, 1)
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
      const path = join(stateDir, 'journal.jsonl')
      const lines = (await readFile(path, 'utf8')).trimEnd().split('\n')
      await writeFile(path, `${lines.filter(line => !line.includes('"kind":"started"')).join('\n')}\n`)
      const begun = join(stateDir, 'journal.begun')
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
    const path = () => join(stateDir, 'journal.jsonl')
    beforeEach(() => changeEverything(open()))

    it('may end in a line that a crash cut off before its change began', async () => {
      await appendFile(path(), '{"id":"1234","kind":"pa')
      assert.equal(await open().writeFile(join(etc, 'more'), '', { owner }), 'created')
      await open().undo()
      assert.deepEqual((await readdir(etc)).sort(), ['link.conf', 'resolv.conf'])
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
          () => open().writeFile(join(etc, 'more'), '', { owner }),
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

  function brokenOff(index: number, when: 'before' | 'after'): Privilege {
    let seen = 0
    const broken =
      (runner: Runner): Runner =>
      async (command, options) => {
        const isIt = seen++ === index
        if (isIt && when === 'before') throw new Error('broken off')
        const result = await runner(command, options)
        if (isIt) throw new Error('broken off')
        return result
      }
    return { run: broken(run), ask: broken(ask) }
  }

  /** How many commands an action runs as root; leaves the folder as it was. */
  async function countCommands(
    action: (journal: Journal) => Promise<void>,
    first: (journal: Journal) => Promise<void> = async () => {},
  ): Promise<number> {
    let count = 0
    const counting =
      (runner: Runner): Runner =>
      (command, options) => {
        count += 1
        return runner(command, options)
      }
    await first(open())
    await action(open({ run: counting(run), ask: counting(ask) }))
    await open().undo({ scope: '' })
    return count
  }
})
