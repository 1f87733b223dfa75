import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { kubectl, speakingTo, trustedCas, usersConfig } from '../../helpers/cluster.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

const workers = { CLUSTER_WORKERS: '1' }

describe('a cluster of two nodes, from its making to teardown', { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  let casBefore: string
  const { succeeds, text, atTerminal, imageOf } = speakingTo(() => sandbox)

  before(async () => {
    const env = { KUBECONFIG: '/run/macula/users-kubeconfig' }
    sandbox = await startSandbox({ cluster: true, workflow: false, env })
    await writeFile(sandbox.path(env.KUBECONFIG), usersConfig, { mode: 0o600 })
    casBefore = await text(trustedCas)
    await succeeds('platform --yes')
  })
  after(() => sandbox?.end())

  it('a setup that is interrupted in the middle is finished by the next, with one node more', async () => {
    await sandbox.exec(
      'timeout --signal KILL 6 node lib/cli/launch.mjs setup-cluster; sleep 1; kill -9 $(pgrep --exact kind)',
    )
    await succeeds('cluster --yes', workers)
  })

  it('every node, the added one too, pulls under both names of the registry, and its pods know the names of the platform', async () => {
    const nodes = await text(`${kubectl} get nodes -o jsonpath='{range .items[*]}{.metadata.name} {end}'`)
    assert.equal(nodes, 'macula-control-plane macula-worker')
    const images = [await imageOf('console'), 'registry.macula.local/macula/console:dev']
    const pods = nodes
      .split(' ')
      .flatMap(node => images.map((image, index) => ({ pod: `on-${node}-${index}`, node, image })))
    for (const { pod, node, image } of pods)
      await text(`${kubectl} -n macula run ${pod} --image=${image} --restart=Never \\
        --overrides='{"spec":{"nodeName":"${node}"}}' --command -- \\
        node -e 'fetch("http://registry.macula.local/v2/").then(({ status }) => console.log(status))'`)
    for (const { pod } of pods) {
      await text(`${kubectl} -n macula wait pod/${pod} --for=jsonpath='{.status.phase}'=Succeeded --timeout=120s`)
      assert.equal(await text(`${kubectl} -n macula logs ${pod}`), '200')
    }
    await text(`${kubectl} -n macula delete pod ${pods.map(({ pod }) => pod).join(' ')} --now`)
  })

  it('the local CA is trusted by the whole machine where somebody says so, until teardown', async () => {
    await text('rm -r $MACULA_STATE_DIR/tls')
    const offered = await atTerminal('deploy-ingress', 'Have this machine trust the CA', 'n', workers)
    assert.match(offered, /To trust it: task deploy-ingress -- --trust/)
    await succeeds('deploy-apps --yes', workers)
    assert.notEqual((await sandbox.exec('curl -sS https://console.macula.local')).exitCode, 0)
    assert.match(await succeeds('deploy-ingress --trust', workers), /✓ Trust .*tls\/ca\.crt {2}created/)
    await text('curl -fsS https://console.macula.local')
    assert.match(await succeeds('deploy-ingress --trust', workers), /Trust .* {2}unchanged/)
  })

  it("the user's own kubeconfig is byte for byte what it was, and only lent a context where they ask for it", async () => {
    const file = sandbox.path('/run/macula/users-kubeconfig')
    assert.equal(await readFile(file, 'utf8'), usersConfig)
    const another = '/run/macula/another-kubeconfig'
    await text(`cp $KUBECONFIG ${another}`)
    await succeeds('setup-cluster --merge-kubeconfig', { ...workers, KUBECONFIG: another })
    assert.equal(await text(`kubectl --kubeconfig ${another} config current-context`), 'work')
    await text(`kubectl --kubeconfig ${another} --context kind-macula get nodes`)
    await succeeds('teardown --yes')
    assert.equal(await readFile(file, 'utf8'), usersConfig)
    assert.equal(await text(`kubectl --kubeconfig ${another} config get-contexts -o name`), 'work')
    assert.equal(await text(trustedCas), casBefore)
    assert.equal(await text(`docker ps --all --quiet; docker network ls --filter name='^kind$' --quiet`), '')
  })
})
