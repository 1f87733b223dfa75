import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../../helpers/stub-docker.ts'

// the engine is hung for the rest of a process, so in one of its own
let tasks: StubbedTasks
before(async () => {
  tasks = await stubbedTasks({ ROUTING: 'socat' })
})
after(() => tasks.remove())

it('A start ends within 20 s where the engine hangs while containers start, and names it', async () => {
  const started = `${tasks.folder}/started`
  await tasks.docker(`
    *compose\\ up*) touch ${started}; exec sleep 100;;
    *) test -e ${started} && exec sleep 100
      case "$*" in *'config --format json') echo '{}';; 'image inspect'*) printf '\\n%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13;; ${workingDocker}
      esac;;`)
  const begun = performance.now()
  const { status, stderr } = tasks.task('start-infrastructure', '--yes')
  const seconds = (performance.now() - begun) / 1000
  assert.equal(status, 1, stderr)
  assert.match(stderr, /✗ Docker at .* accepts connections and does not answer/)
  assert.ok(seconds < 20, `${seconds} s\n${stderr}`)
  assert.ok((await tasks.calls()).some(call => call.startsWith('compose up')))
})
