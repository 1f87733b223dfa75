import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { $ } from '../../../lib/system/exec.ts'
import {
  endProcess,
  findProcesses,
  identityOf,
  isSame,
  processesRunning,
  startDetached,
} from '../../../lib/system/processes.ts'

// the tests need no root: they only touch what they started
const ourselves = { $ }

describe('detached processes', { skip: process.platform !== 'linux' && 'reads /proc' }, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-processes-'))
  })
  after(() => rm(folder, { recursive: true }))

  async function start(name: string, command: readonly string[]) {
    const log = join(folder, `${name}.log`)
    const pid = await startDetached(command, log, ourselves)
    await pause(100)
    return { pid, log, identity: (await identityOf(pid))! }
  }

  it('runs in a session of its own, as a child of nobody here, and writes to its log', async () => {
    const { pid, log, identity } = await start('one', ['sh', '-c', 'echo out; echo err >&2; sleep 60; :'])
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const [, parent, , session] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    assert.notEqual(parent, process.pid)
    assert.equal(session, pid)
    assert.equal(await readFile(log, 'utf8'), 'out\nerr\n')
    await endProcess(identity, ourselves)
    assert.equal(await identityOf(pid), undefined)
  })

  it('is found by its exact command line', async () => {
    const command = ['sleep', `60.${process.pid}`]
    const { pid, identity } = await start('two', command)
    assert.deepEqual(
      (await processesRunning(command)).map(found => found.pid),
      [pid],
    )
    assert.deepEqual(await processesRunning([...command, '1']), [])
    await endProcess(identity, ourselves)
    assert.deepEqual(await processesRunning(command), [])
  })

  it('is not found by a command line that it has no more when it is identified', async () => {
    let looks = 0
    const found = await findProcesses(command => {
      if (command[0] !== process.execPath) return false
      looks += 1
      return looks === 1
    })
    assert.ok(looks >= 2)
    assert.deepEqual(found, [])
  })

  it('is ended together with the children of its group', async () => {
    const { log, identity } = await start('three', ['sh', '-c', 'sleep 60 & echo $!; wait'])
    const child = Number(await readFile(log, 'utf8'))
    assert.notEqual(await identityOf(child), undefined)
    await endProcess(identity, ourselves)
    await pause(50)
    assert.equal(await identityOf(child), undefined)
  })

  it('is left alone when it only has got the pid of one that was recorded', async () => {
    const { identity } = await start('four', ['sleep', '60'])
    await endProcess({ ...identity, startTime: '1' }, ourselves)
    assert.equal(await isSame(identity), true)
    await endProcess(identity, ourselves)
    await endProcess(identity, ourselves)
    assert.equal(await isSame(identity), false)
  })
})
