import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, afterEach, before, describe, it } from 'node:test'
import { acquireLock } from '../../../lib/platform/lock.ts'
import { root } from '../../../lib/system/checkout.ts'
import { countFaults } from '../../helpers/fault-table.ts'

describe('the lock of an installation', () => {
  let folder: string
  let stateDir: string
  const children: ChildProcess[] = []
  let count = 0
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-lock-'))
  })
  after(() => rm(folder, { recursive: true }))
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  const fresh = () => {
    count += 1
    stateDir = join(folder, `state-${count}`)
    return stateDir
  }

  /** Starts a process that takes the lock and says `held`, then does what `body` says. Resolves when it is held. */
  async function other(task: string, body: string, waitMs = 10_000): Promise<ChildProcess> {
    const script = `
      import { acquireLock } from '${root}/lib/platform/lock.ts'
      const release = await acquireLock('${stateDir}', { task: '${task}', waitMs: ${waitMs} })
      console.log('held')
      ${body}`
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    const [line] = await once(createInterface({ input: child.stdout! }), 'line')
    assert.equal(line, 'held')
    return child
  }
  const forever = 'setInterval(() => {}, 1000)'

  it('is taken and given back without a trace', async () => {
    const release = await acquireLock(fresh(), { task: 'setup-dnsmasq', waitMs: 5000 })
    assert.equal((await readdir(join(stateDir, 'lock'))).length, 1)
    await release()
    await assert.rejects(readdir(stateDir))
  })

  it('names who holds it when the time to wait is over: task, pid and since when', async () => {
    fresh()
    const holder = await other('start-infrastructure', forever)
    const told: string[] = []
    const started = performance.now()
    await assert.rejects(acquireLock(stateDir, { task: 'teardown', waitMs: 300, onWait: text => told.push(text) }), {
      message: new RegExp(`start-infrastructure \\(pid ${holder.pid}, since \\d\\d:\\d\\d:\\d\\d\\)$`),
      hint: /--wait/,
    })
    assert.ok(performance.now() - started < 4000)
    assert.equal(told.length, 1)
    // who gave up does not stand in the way of the next
    assert.equal((await readdir(join(stateDir, 'lock'))).length, 1)
  })

  it('is waited for, and taken when it is given back', async () => {
    fresh()
    await other('one', 'setTimeout(release, 500)')
    const started = performance.now()
    const release = await acquireLock(stateDir, { task: 'two', waitMs: 0 })
    assert.ok(performance.now() - started > 300)
    await release()
  })

  it('is free where its holder was killed, and where its pid belongs to another process by now', async () => {
    fresh()
    const holder = await other('one', forever)
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    const [file = ''] = await readdir(join(stateDir, 'lock'))
    const text = await readFile(join(stateDir, 'lock', file), 'utf8')
    // a living process of that pid, which began at another time
    await writeFile(join(stateDir, 'lock', `1-${process.ppid}-12345_another-boot`), text)
    await (await acquireLock(stateDir, { task: 'two', waitMs: 5000 }))()
    assert.deepEqual(await readdir(join(stateDir, 'lock')).catch(() => []), [])
  })

  it('is shared by what its holder starts', async () => {
    const release = await acquireLock(fresh(), { task: 'setup', waitMs: 5000 })
    const child = await other('part of it', 'await release()', 5000)
    await once(child, 'exit')
    // the part has not given away what belongs to the whole
    assert.equal((await readdir(join(stateDir, 'lock'))).length, 1)
    await release()
  })

  it('is shared by the steps that its holder runs at once, none of which gives it back', async () => {
    const release = await acquireLock(fresh(), { task: 'setup', waitMs: 5000 })
    const steps = Array.from({ length: 5 }, async (_, index) =>
      (await acquireLock(stateDir, { task: `step-${index}`, waitMs: 1000 }))(),
    )
    await Promise.all(steps)
    assert.equal((await readdir(join(stateDir, 'lock'))).length, 1)
    await release()
    assert.deepEqual(await readdir(join(stateDir, 'lock')).catch(() => []), [])
  })

  it('belongs to the workflow for as long as that lives, where one is named', async () => {
    fresh()
    const workflow = spawn('sleep', ['30'])
    children.push(workflow)
    for (const task of ['first', 'second'])
      await (await acquireLock(stateDir, { task, workflow: workflow.pid!, waitMs: 5000 }))()
    assert.equal((await readdir(join(stateDir, 'lock'))).length, 1)
    workflow.kill()
    await once(workflow, 'exit')
    await (await acquireLock(stateDir, { task: 'third', waitMs: 5000 }))()
    assert.deepEqual(await readdir(join(stateDir, 'lock')).catch(() => []), [])
  })

  it('is not taken through a link that was planted in place of the state folder', async () => {
    await symlink(tmpdir(), fresh())
    await assert.rejects(acquireLock(stateDir, { task: 'one', waitMs: 5000 }), /is a symbolic link/)
    assert.ok(!(await readdir(tmpdir())).includes('lock'))
  })

  it('never belongs to two at once, though many come and some are killed', async () => {
    fresh()
    const file = join(folder, 'counter')
    await writeFile(file, '0')
    // reads, waits and writes: two at once would lose a count
    const script = `
      import { acquireLock } from '${root}/lib/platform/lock.ts'
      import { readFileSync, writeFileSync } from 'node:fs'
      for (let round = 0; round < 40; round += 1) {
        const release = await acquireLock('${stateDir}', { task: 'count', waitMs: 0 })
        const value = Number(readFileSync('${file}', 'utf8'))
        await new Promise(resume => setTimeout(resume, Math.random() * 3))
        writeFileSync('${file}', String(value + 1))
        await release()
      }`
    const args = ['--import', 'tsx', '--input-type=module', '--eval', script]
    const counters = Array.from({ length: 5 }, () => spawn(process.execPath, args, { cwd: root, stdio: 'inherit' }))
    children.push(...counters)
    const ends = counters.map(counter => once(counter, 'exit'))
    const killed = await other('killed', forever, 0)
    setTimeout(() => killed.kill('SIGKILL'), 200)
    assert.deepEqual(
      (await Promise.all(ends)).map(([code]) => code),
      [0, 0, 0, 0, 0],
    )
    const written = Number(await readFile(file, 'utf8'))
    countFaults('locks lost to a second writer', 200, 200 - written)
    assert.equal(written, 200)
  })
})
