import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { applications, speakingTo } from '../../helpers/cluster.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

describe('setup, with all at once that waits for nothing more', { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  const { succeeds, text, task } = speakingTo(() => sandbox)

  before(async () => {
    sandbox = await startSandbox({ cluster: true, workflow: false })
  })
  after(() => sandbox?.end())

  it('makes everything answer, and prints each step as one block', async context => {
    const started = performance.now()
    const said = await succeeds('setup --yes')
    context.diagnostic(`${((performance.now() - started) / 1000).toFixed(1)} s`)
    context.diagnostic(said)
    for (const application of applications) await text(`curl -fsS -o /dev/null http://${application}.macula.local`)
    // the nodes take longest, so other steps end meanwhile; their lines are not among those of the nodes
    assert.match(said, /^nodes\n(Cluster macula\n|[✓ ] .*\n)*✓ Create the nodes .*\nThe nodes are there/m)
    context.diagnostic(await text('node lib/cli/launch.mjs timings'))
  })

  it('has nothing to do a second time', async context => {
    const taken: number[] = []
    for (let round = 0; round < 3; round += 1) {
      const started = performance.now()
      const said = await succeeds('setup --yes')
      taken.push(performance.now() - started)
      assert.doesNotMatch(said, /(created|updated|rolled out) {2}\d/)
    }
    context.diagnostic(`${taken.map(ms => `${(ms / 1000).toFixed(1)} s`).join(', ')}`)
    context.diagnostic(await text('node lib/cli/launch.mjs timings'))
  })

  it('after a step that failed has run what does not wait for it, names the rest, and carries on once the cause is gone', async () => {
    const broken = { BOOTSTRAP_SOURCE: '/nowhere' }
    const { exitCode, stderr } = await task('setup --yes', broken)
    assert.equal(exitCode, 2)
    assert.match(stderr, /✗ 1 step of \d+ failed: build\n/)
    assert.match(stderr, /done: .*ingress/)
    assert.match(stderr, /not begun: deploy, check, status\n/)
    await succeeds('setup --yes')
  })

  it('interrupted while several steps run, ends them all, and the next one carries on', async () => {
    await succeeds('delete-cluster --yes')
    const script = `node lib/cli/launch.mjs setup --yes >/tmp/setup.log 2>&1 & pid=$!
      until pgrep -x kind >/dev/null; do sleep 0.1; kill -0 $pid || exit 9; done
      sleep 2; kill -INT $pid; wait $pid; echo "exit code $?"; pgrep -x kind; cat /tmp/setup.log`
    const { stdout } = await sandbox.exec(script)
    assert.match(stdout, /^exit code 130\n(?!\d)/, stdout)
    assert.match(stdout, /✗ Create the nodes .* {2}interrupted/)
    const { last } = JSON.parse(await text('node lib/cli/launch.mjs timings --json'))
    assert.equal(last.steps.find(({ name }: { name: string }) => name === 'nodes').state, 'interrupted')
    await succeeds('setup --yes')
    for (const application of applications) await text(`curl -fsS -o /dev/null http://${application}.macula.local`)
  })
})
