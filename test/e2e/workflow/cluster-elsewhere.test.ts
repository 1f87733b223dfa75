import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { applications, speakingTo } from '../../helpers/cluster.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

/** What somebody else has set up: a cluster whose node pulls from this machine's registry. */
const makeCluster = `
  kind create cluster --name big --image "$NODE_IMAGE" --kubeconfig "$KUBECONFIG" --wait 120s --config - <<'END'
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
featureGates: { KubeletInUserNamespace: true }
END
  docker network connect macula-infra big-control-plane
  docker exec -i big-control-plane sh -c 'cd /etc/containerd/certs.d && mkdir 127.0.0.1:5001 && cat >127.0.0.1:5001/hosts.toml' <<'END'
[host."http://macula-registry:5000"]
END
  kubectl config rename-context kind-big big
  kubectl --context big create namespace theirs
  kubectl --context big -n theirs create configmap shop --from-literal a=b`

describe('a cluster that is not ours', { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  const { task, succeeds, fails, text } = speakingTo(() => sandbox)
  // a name that is not the platform's own for its registry: it is asked through Docker, as any other
  const elsewhere = { CLUSTER: 'existing', CLUSTER_CONTEXT: 'big', REGISTRY: '127.0.0.1:5001/elsewhere' }
  const others = `kubectl --context big get deployments,services,configmaps,secrets,ingresses,ingressclasses -A -o jsonpath='{range .items[*]}{.metadata.namespace}/{.kind}/{.metadata.name} {.metadata.uid} {.metadata.generation} {.data}{"\\n"}{end}' | grep -v ^macula/ | sort`
  let untouched: { objects: string; kubeconfig: string }

  before(async () => {
    sandbox = await startSandbox({
      cluster: true,
      workflow: false,
      env: { KUBECONFIG: '/run/macula/users-kubeconfig' },
    })
    await succeeds('platform --yes')
    const { KIND_NODE_IMAGE = '' } = Object.fromEntries(
      (await text('cat $MACULA_ENV_FILE')).split('\n').map(line => line.split('=', 2)),
    )
    const made = await sandbox.exec(`set -e; ${makeCluster}`, { env: { NODE_IMAGE: KIND_NODE_IMAGE } })
    assert.equal(made.exitCode, 0, made.stderr)
    untouched = { objects: await text(others), kubeconfig: await text('cat $KUBECONFIG') }
  })
  after(() => sandbox?.end())

  it('is asked for by its context, and shown what will be done to it', async () => {
    const unknown = await fails('setup-cluster', { ...elsewhere, CLUSTER_CONTEXT: 'nobody' })
    assert.match(unknown.stderr, /There is no context nobody/)
    await succeeds('setup-cluster', elsewhere)
    await succeeds('build-and-push', elsewhere)
    const refused = await fails('deploy-apps', elsewhere)
    assert.equal(refused.exitCode, 2)
    assert.match(refused.stderr, /context\s+big\n[\s\S]*namespace\s+macula[\s\S]*Deploying to big needs a confirmation/)
    assert.equal(await text('kubectl --context big get namespace macula --ignore-not-found'), '')
  })

  it('runs the applications once somebody says yes, from the registry that both sides reach', async () => {
    await succeeds('cluster --yes', elsewhere)
    for (const application of applications) {
      const get = `kubectl --context big -n macula get deployment ${application} -o jsonpath=`
      assert.match(
        await text(`${get}'{.spec.template.spec.containers[0].image}'`),
        new RegExp(`^127.0.0.1:5001/elsewhere/${application}@sha256:`),
      )
      assert.equal(await text(`${get}'{.status.availableReplicas}'`), '1')
    }
    const program = 'fetch("http://console").then(async page => console.log(await page.text()))'
    const page = `kubectl --context big -n macula exec deploy/peer1 -- node -e '${program}'`
    // a node leads to a new pod a moment after Kubernetes calls it available
    assert.match(await text(`for i in $(seq 20); do ${page} && break; sleep 0.5; done`), /<title>console</)
  })

  it('has a second deployment change nothing', async () => {
    const versions = `kubectl --context big -n macula get all,configmaps,secrets,ingresses -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.metadata.generation} {.metadata.uid}{"\\n"}{end}'`
    const first = await text(versions)
    await succeeds('cluster --yes', elsewhere)
    assert.equal(await text(versions), first)
  })

  it('is not touched anywhere else, and neither is the kubeconfig that names it', async () => {
    assert.equal(await text(others), untouched.objects)
    assert.equal(await text('cat $KUBECONFIG'), untouched.kubeconfig)
    const { cluster } = JSON.parse((await task('status --json', elsewhere)).stdout)
    assert.deepEqual(
      cluster.map(({ name }: { name: string }) => name),
      applications,
    )
  })

  it('is left alone by teardown', async () => {
    // which that cluster was put on for this test; a registry on a server would need no such thing
    await text('docker network disconnect macula-infra big-control-plane')
    await succeeds('teardown --yes', elsewhere)
    assert.equal(await text(others), untouched.objects)
    assert.equal(await text('docker ps --format "{{.Names}}"'), 'big-control-plane')
  })
})
