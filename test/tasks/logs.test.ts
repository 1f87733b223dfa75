import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'

describe('task logs', () => {
  let tasks: StubbedTasks
  before(async () => {
    tasks = await stubbedTasks()
    await tasks.docker(`
      'compose logs'*--follow*) trap 'echo stopping >&2; exit 130' INT TERM; echo 'macula-nginx  | a line'; sleep 60 & wait;;
      'compose logs'*) echo 'macula-nginx  | a line';;
      ${workingDocker}`)
    // as on a small system, which has none
    if (process.platform === 'linux')
      await writeFile(join(tasks.folder, 'ps'), '#!/bin/sh\nexit 127\n', { mode: 0o755 })
  })
  after(() => tasks.remove())

  it('says what to do where nothing has been started yet', () => {
    const { status, stderr } = tasks.task('logs')
    assert.equal(status, 1)
    assert.match(stderr, /Nothing has been started from here yet.*\n.*→ task start-infrastructure/)
  })

  it('hands on the lines of the services asked for, and nothing else', async () => {
    await mkdir(tasks.stateDir)
    await writeFile(join(tasks.stateDir, 'docker-compose.yml'), '')
    const { status, stdout, stderr } = tasks.task('logs', '--tail', '5', 'nginx')
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'macula-nginx  | a line\n', stderr: '' })
    assert.ok((await tasks.calls()).includes('compose logs --tail 5 nginx'))
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`follows them until ${signal}, and ends with 130 and without an error`, async () => {
      const child = spawn(process.execPath, ['lib/cli/launch.mjs', 'logs', '--follow', 'nginx'], {
        cwd: root,
        env: tasks.environment,
        stdio: ['ignore', 'pipe', 'pipe'],
        // a process group of its own, so that the signal reaches all in it as from a terminal
        detached: true,
      })
      const end = once(child, 'close')
      const stderr = text(child.stderr)
      const [first] = await once(child.stdout, 'data')
      assert.equal(String(first), 'macula-nginx  | a line\n')
      if (signal === 'SIGINT') process.kill(-child.pid!, signal)
      else child.kill(signal)
      assert.deepEqual(await end, [130, null])
      assert.equal(await stderr, 'stopping\n')
    })
  }
})
