import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { endProcess, isRunning, processAt, startDetached } from '../../lib/processes.ts'

describe('detached processes', { skip: process.platform !== 'linux' && 'reads /proc' }, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-processes-'))
  })
  after(() => rm(folder, { recursive: true }))

  it('runs in a session of its own, as a child of nobody here, and writes to its log', async () => {
    const logFile = join(folder, 'logs', 'one.log')
    const started = await startDetached(['sh', '-c', 'echo out; echo err >&2; sleep 60; :'], { logFile })
    assert.equal(await isRunning(started), true)
    const current = await processAt(started.pid)
    assert.equal(current?.group, started.pid)
    const stat = await readFile(`/proc/${started.pid}/stat`, 'utf8')
    assert.notEqual(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]), process.pid)
    await pause(50)
    assert.equal(await readFile(logFile, 'utf8'), 'out\nerr\n')
    assert.equal(await endProcess(started), 'removed')
    assert.equal(await processAt(started.pid), undefined)
  })

  it('ends the children of its group too', async () => {
    const started = await startDetached(['sh', '-c', 'sleep 60 & echo $!; wait'], { logFile: join(folder, 'two.log') })
    await pause(50)
    const child = Number(await readFile(join(folder, 'two.log'), 'utf8'))
    assert.notEqual(await processAt(child), undefined)
    await endProcess(started)
    await pause(50)
    assert.equal(await processAt(child), undefined)
  })

  it('kills what ignores the polite signal', async () => {
    const started = await startDetached(['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'], {
      logFile: join(folder, 'three.log'),
    })
    await pause(50)
    assert.equal(await endProcess(started, { graceMs: 200 }), 'removed')
    assert.equal(await isRunning(started), false)
  })

  it('never ends whoever has got the pid meanwhile', async () => {
    const started = await startDetached(['sleep', '60'], { logFile: join(folder, 'four.log') })
    for (const stale of [{ startTime: '1' }, { command: ['sleep', '61'] }]) {
      assert.equal(await endProcess({ ...started, ...stale }), 'unchanged')
      assert.equal(await isRunning(started), true)
    }
    assert.equal(await endProcess(started), 'removed')
    assert.equal(await endProcess(started), 'unchanged')
  })

  it('says who it was when the program ends at once', async () => {
    const started = await startDetached(['sh', '-c', 'echo no >&2; exit 1'], { logFile: join(folder, 'five.log') })
    await pause(50)
    assert.equal(await isRunning(started), false)
    assert.equal(await readFile(join(folder, 'five.log'), 'utf8'), 'no\n')
  })
})
