import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { PlatformError } from '../../lib/system/errors.ts'
import { NotYet, waitFor } from '../../lib/system/wait.ts'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'
import { listedContainer, ownId } from '../helpers/things.ts'

const noTmux = spawnSync('tmux', ['-V']).status === 0 ? false : 'tmux is not installed'

describe('task watch', () => {
  let tasks: StubbedTasks

  before(async () => {
    tasks = await stubbedTasks()
    await mkdir(tasks.stateDir)
    await writeFile(join(tasks.stateDir, 'installation.json'), JSON.stringify({ id: ownId, owned: {} }))
    // the collector runs, and Loki does not
    const containers = Object.entries({ collector: 'running', loki: 'exited' }).map(([service, Status]) => ({
      ...{ Id: service, Name: `/macula-${service}`, RestartCount: 0 },
      State: { Status, ExitCode: 1, StartedAt: '2026-11-23T10:00:00Z', FinishedAt: '2026-11-23T11:00:00Z' },
      Config: { Image: 'a:1', Labels: { 'com.docker.compose.service': service } },
    }))
    await writeFile(join(tasks.folder, 'inspected'), JSON.stringify(containers))
    const listed = containers.map(({ Id }) => listedContainer({ id: Id, installation: ownId }))
    await writeFile(join(tasks.folder, 'listed'), listed.join(''))
    await tasks.docker(`
      'container inspect'*) cat ${tasks.folder}/inspected;;
      ps*) cat ${tasks.folder}/listed;;
      logs*loki) printf 'a first line\\nout of \\033[2Jspace\\n';;
      logs*) printf 'line of another\\n';;
      restart*) ;;
      ${workingDocker}`)
  })
  after(() => tasks.remove())

  it('prints one status over a pipe, and ends', () => {
    const { status, stdout, stderr } = tasks.task('watch')
    assert.equal(stderr, '')
    assert.equal(status, 0)
    assert.match(stdout, /^Macula {3}1 of \d+ up /)
    assert.match(stdout, /^ {2}collector .* running /m)
    assert.match(stdout, /^ {2}loki .* exited /m)
    assert.match(stdout, /^Alerts: not known, /m)
    assert.match(stdout, /^Last lines of loki\n {2}a first line\n {2}out of space$/m)
    assert.ok(!stdout.includes('\x1b'), 'no control characters')
  })

  describe('in a terminal', { skip: noTmux }, () => {
    const socket = `macula-watch-${process.pid}`
    const tmux = (...words: string[]) =>
      spawnSync('tmux', ['-L', socket, ...words], { encoding: 'utf8', env: tasks.environment })
    const screen = () => tmux('capture-pane', '-p').stdout
    const shows = (pattern: RegExp) =>
      waitFor(() => pattern.test(screen()) || new NotYet(screen()), {
        timeoutMs: 20_000,
        onTimeout: seen => new PlatformError(`no ${pattern} on the screen:\n${seen}`),
      })
    before(() => {
      const command = `cd ${root}; node lib/cli/launch.mjs watch; echo "ended with $?"; exec sh`
      tmux('-f', '/dev/null', 'new-session', '-d', '-x', '110', '-y', '30', command)
    })
    after(() => tmux('kill-server'))

    it('shows services, alerts and the last lines of what is not well, and the keys', async () => {
      await shows(/select .* restart .* quit/)
      assert.match(screen(), /^> nginx /m)
      assert.match(screen(), /^ {2}loki .*exited/m)
      assert.match(screen(), /Last lines of loki/)
    })

    it('restarts a service after a question, and only then', async () => {
      for (let count = 0; count < 30 && !/^> loki /m.test(screen()); count++) {
        tmux('send-keys', 'j')
        await new Promise(resolve => setTimeout(resolve, 100))
      }
      await shows(/^> loki /m)
      tmux('send-keys', 'r')
      await shows(/Restart loki\? y or any other key/)
      tmux('send-keys', 'n')
      await shows(/select .* quit/)
      assert.ok(!(await tasks.calls()).includes('restart loki'))
      tmux('send-keys', 'r')
      await shows(/Restart loki\?/)
      tmux('send-keys', 'y')
      await shows(/Restarted loki/)
      assert.ok((await tasks.calls()).includes('restart loki'))
    })

    it('follows the log of the selected service, and returns', async () => {
      tmux('send-keys', 'l')
      await shows(/^Log of loki\na first line\nout of space/)
      tmux('send-keys', 'Escape')
      await shows(/^> loki /m)
    })

    it('keeps the keys on a small screen, and leaves the terminal as it was', async () => {
      tmux('resize-window', '-x', '60', '-y', '10')
      await shows(/^> loki [\s\S]*select/m)
      tmux('send-keys', 'q')
      await shows(/^ended with 0/m)
      assert.doesNotMatch(screen(), /select/)
    })
  })
})
