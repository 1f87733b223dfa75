import assert from 'node:assert/strict'
import { chmod, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Journal } from '../../../lib/journal/journal.ts'
import { describeUndone, isUndone } from '../../../lib/journal/undo.ts'
import { $ } from '../../../lib/system/exec.ts'
import { stateOf } from '../../../lib/system/files.ts'
import { asRoot, type Privilege } from '../../../lib/system/privilege.ts'
import { journalFolder, ourselves, owner } from '../../helpers/journal-folder.ts'
import { shellAround } from '../../helpers/shell.ts'

describe('journal', () => {
  const { place, open, resolvConf, machine, changeEverything } = journalFolder()

  it('puts bytes, modes, links and folders back', async () => {
    const before = await machine()
    await changeEverything(open())
    assert.equal(await readFile(resolvConf(), 'utf8'), 'nameserver 127.0.0.2\n')
    assert.equal((await stat(resolvConf())).mode & 0o777, 0o600)
    const undone = await open().undo({ scope: '' })
    assert.deepEqual(await machine(), before)
    assert.deepEqual(
      undone.map(({ what, outcome }) => `${what.slice(place.etc.length)} ${outcome}`),
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
    const recorded = await readFile(join(place.stateDir, 'journal.jsonl'))
    assert.equal(await open().link(join(place.etc, 'new.conf'), 'resolv.conf'), 'unchanged')
    assert.equal(await open().writeFile(resolvConf(), 'nameserver 127.0.0.2\n', { mode: 0o600, owner }), 'unchanged')
    assert.deepEqual(await readFile(join(place.stateDir, 'journal.jsonl')), recorded)
    assert.equal((await stat(join(place.stateDir, 'journal.jsonl'))).mode & 0o777, 0o600)
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
            undone.filter(each => !isUndone(each)),
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

  it('keeps what somebody else changed since, says so, and undoes the rest', async () => {
    await changeEverything(open())
    await writeFile(resolvConf(), 'nameserver 192.0.2.99\n')
    await writeFile(join(place.etc, 'macula', 'notes'), 'mine')
    const undone = await open().undo({ scope: '' })
    const kept = undone.filter(({ outcome }) => outcome === 'kept')
    assert.deepEqual(
      kept.map(each => [each.what.slice(place.etc.length), describeUndone(each)]),
      [
        ['/resolv.conf', 'kept: changed since by somebody else'],
        ['/macula', 'kept: not empty'],
      ],
    )
    assert.equal(await readFile(resolvConf(), 'utf8'), 'nameserver 192.0.2.99\n')
    assert.equal(await readFile(join(place.etc, 'macula', 'notes'), 'utf8'), 'mine')
    assert.equal((await stateOf(join(place.etc, 'link.conf'))).kind, 'link')
    // what was kept is said again, and undone when it is ours again
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

  it('undoes one scope with those below it, and no other', async () => {
    await open(ourselves, 'routes/data').writeFile(join(place.etc, 'data'), '', { owner })
    await open(ourselves, 'routes/data/postgres').writeFile(join(place.etc, 'postgres'), '', { owner })
    await open(ourselves, 'routes/database').writeFile(join(place.etc, 'database'), '', { owner })
    await open(ourselves, 'routes/data').undo()
    assert.deepEqual((await readdir(place.etc)).sort(), ['database', 'link.conf', 'resolv.conf'])
  })

  it('only tells in a dry run, forwards and backwards', async () => {
    const before = await machine()
    const dry = open(ourselves, 'test', true)
    await changeEverything(dry)
    assert.deepEqual(await machine(), before)
    assert.deepEqual(await readdir(place.folder), ['etc'])
    assert.ok(dry.planned.some(({ what }) => what === `change ${resolvConf()}`))
    await changeEverything(open())
    const changed = await machine()
    const told = await open().undo({ scope: '', dryRun: true })
    assert.deepEqual(await machine(), changed)
    assert.deepEqual(await open().undo({ scope: '' }), told)
  })

  it('runs commands of undo when everything recorded after them is back', async () => {
    const marker = join(place.folder, 'seen')
    const command = ['sh', '-c', 'ls "$1" > "$2"', 'sh', place.etc, marker]
    await open().afterUndo(command)
    await open().afterUndo(command)
    await open().writeFile(join(place.etc, 'unit'), '', { owner })
    const undone = await open().undo()
    assert.equal(await readFile(marker, 'utf8'), 'link.conf\nresolv.conf\n')
    assert.deepEqual(
      undone.map(({ outcome }) => outcome),
      ['removed', 'run'],
    )
  })

  it('goes on after a change that cannot be undone, and keeps its record', async () => {
    await open().afterUndo(['false'])
    await open().writeFile(join(place.etc, 'unit'), '', { owner })
    const [file, command] = await open().undo()
    assert.equal(file?.outcome, 'removed')
    assert.match(describeUndone(command!), /^failed: `false` failed with exit code 1/)
    assert.equal((await open().undo()).length, 1)
  })

  /** Root that is killed before or after one command; nothing runs after that. */
  function brokenOff(index: number, when: 'before' | 'after'): Privilege {
    let seen = 0
    const shell = shellAround($, async command => {
      const isIt = seen++ === index
      if (seen > index + 1 || (isIt && when === 'before')) throw new Error('broken off')
      const result = await command()
      if (isIt) throw new Error('broken off')
      return result
    })
    return { ...asRoot, $: shell }
  }

  /** How many commands an action runs as root; leaves the folder as it was. */
  async function countCommands(
    action: (journal: Journal) => Promise<void>,
    first: (journal: Journal) => Promise<void> = async () => {},
  ): Promise<number> {
    let count = 0
    await first(open())
    const shell = shellAround($, command => {
      count += 1
      return command()
    })
    await action(open({ ...asRoot, $: shell }))
    await open().undo({ scope: '' })
    return count
  }
})
