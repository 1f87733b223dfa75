import assert from 'node:assert/strict'
import { it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'
import { commandLine } from '../../lib/system/exec.ts'
import { kubectl } from './cluster.ts'

/** A line as test/helpers/otlp-receiver.mjs prints it. */
interface Line {
  service: string
  resource: Record<string, string>
  severity?: string
  body: string
  attributes: Record<string, string | number>
}

const image = 'localhost:5001/macula/console:dev'
/** Loki and Tempo are not to be had here; whoever stands at their addresses gets what they would get. */
const receiver = (name: string, ip: string, port: number) =>
  `docker run --detach --name ${name} --network macula-infra --ip ${ip} --entrypoint node \\
    --volume ${root}/test/helpers:/helpers:ro --volume ${root}/node_modules:/node_modules:ro ${image} \\
    /helpers/otlp-receiver.mjs 0.0.0.0 ${port}`

/** Tests of what the collectors in the cluster send, in a sandbox that has one; `text` is what a script printed that has to succeed. */
export function collectorTests(
  text: (script: string) => Promise<string>,
  succeeds: (words: string) => Promise<string>,
): void {
  const state = '/var/lib/macula-collector'
  /** Looks with a script once a second, at most a minute, until it succeeds; what it printed then. */
  const until = (script: string) =>
    text(`for i in $(seq 60); do { ${script}; } 2>/dev/null && exit; sleep 1; done; { ${script}; }`)
  const received = async (): Promise<Line[]> =>
    (await text('docker logs receiver')).split('\n').map(line => JSON.parse(line))
  const arrived = (words: string) => until(`docker logs receiver | grep ${words} >/dev/null`)
  const value = async (query: string): Promise<number> => {
    const url = `http://prometheus.macula.local/api/v1/query --data-urlencode 'query=${query}'`
    const answer = await until(`curl -fsS ${url} | grep '"value"' || { echo nothing found by '${query}' >&2; false; }`)
    return Number(JSON.parse(answer).data.result[0].value[1])
  }
  const run = (name: string, restart: string, program: string) =>
    text(`${kubectl} run ${name} --image ${image} --restart ${restart} --labels app.kubernetes.io/name=${name} --command -- \\
      node --eval '${program}'`)

  it('lines that pods write while Loki is away arrive once each, though pod and collector are gone by then', async () => {
    await text('docker stop macula-loki')
    await run(
      'talker',
      'Never',
      'for (const line of ["one", "x".repeat(40000), "", "last"]) console.log("talker", line)',
    )
    await until(`${kubectl} get pod talker | grep Completed`)
    await until(`docker exec macula-control-plane grep --recursive --quiet 'talker last' ${state}`)
    await text(`${kubectl} delete pod talker; ${kubectl} -n macula-collector delete pod --all`)
    await until(`${kubectl} -n macula-collector get pods | grep node | grep 1/1`)
    await text(receiver('receiver', '172.23.0.22', 3100))
    await arrived("'talker last'")
    const lines = (await received()).filter(({ service }) => service === 'talker')
    assert.deepEqual(
      lines.map(({ body }) => body),
      ['talker one', `talker ${'x'.repeat(40_000)}`, 'talker ', 'talker last'],
    )
    for (const { resource } of lines) {
      const { 'k8s.namespace.name': namespace, 'k8s.pod.name': pod, 'k8s.container.name': container } = resource
      assert.deepEqual([namespace, pod, container, resource.application], Array(4).fill('talker').with(0, 'default'))
      assert.equal(resource['k8s.node.name'], 'macula-control-plane')
    }
  })

  it('an application that writes is found by its name, and the collectors do not read themselves', async () => {
    await text('curl -fsS http://console.macula.local')
    await arrived('\'"service":"console"\'')
    const lines = await received()
    assert.ok(
      lines.some(({ service, resource }) => service === 'console' && resource['k8s.namespace.name'] === 'macula'),
    )
    assert.ok(
      !lines.some(
        ({ resource }) => resource['k8s.namespace.name'] === 'macula-collector' && !resource['k8s.object.kind'],
      ),
    )
  })

  it('what a pod sends over OTLP to its node arrives as its own; from outside the cluster nobody reaches the port', async () => {
    await text(`docker stop macula-tempo; ${receiver('spans', '172.23.0.23', 4318)}`)
    const logs = { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: 'over OTLP' } }] }] }] }
    const span = { traceId: 'ab'.repeat(16), spanId: 'cd'.repeat(8), name: 'over OTLP', kind: 1 }
    const traces = { resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }
    const program = `for (const [kind, body] of Object.entries(${JSON.stringify({ logs, traces })})) {
      const answer = await fetch('http://otlp.macula-collector:4318/v1/' + kind, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
      console.log(answer.status)
    }`
    const status = await text(
      `${commandLine(['printf', '%s', program])} | ${kubectl} -n macula exec -i deploy/console -- node --input-type=module -`,
    )
    assert.equal(status, '200\n200')
    await arrived("'over OTLP'")
    const sent = await until(`docker logs spans | grep 'over OTLP'`)
    await text('docker rm --force spans; docker start macula-tempo')
    const line = (await received()).find(({ body }) => body === 'over OTLP')
    for (const { service, resource } of [line, JSON.parse(sent)])
      assert.deepEqual([service, resource['k8s.namespace.name']], ['console', 'macula'])
    const node = "$(docker inspect --format '{{.NetworkSettings.Networks.kind.IPAddress}}' macula-control-plane)"
    for (const port of [4317, 4318]) await text(`! curl -sS --max-time 2 http://${node}:${port}`)
  })

  it('a container that ends is an event, and counted as restarted', async () => {
    await run('stumbler', 'Always', 'process.exit(3)')
    await arrived('\'"k8s.event.reason":"BackOff"\'')
    const event = (await received()).find(
      ({ resource, attributes }) =>
        resource['k8s.pod.name'] === 'stumbler' && attributes['k8s.event.reason'] === 'BackOff',
    )
    const namespace = event?.resource['k8s.namespace.name']
    assert.deepEqual([event?.service, event?.severity, namespace], ['events', 'Warning', 'default'])
    assert.ok((await value('k8s_container_restarts{k8s_pod_name="stumbler"} > 0')) >= 1)
    await text(`${kubectl} delete pod stumbler --now`)
  })

  it('Prometheus knows the load of each node, pod and container', async () => {
    for (const query of [
      'k8s_node_cpu_usage{k8s_node_name="macula-control-plane"}',
      'system_cpu_load_average_1m{k8s_node_name="macula-control-plane"}',
      'k8s_pod_memory_working_set_bytes{k8s_namespace_name="macula",application="console"}',
      // of each: the hash in a pod's name is not equally long everywhere
      ...['console', 'bootstrap', 'peer1', 'peer2'].map(
        name => `container_memory_working_set_bytes{k8s_deployment_name="${name}",k8s_container_name="application"}`,
      ),
      'k8s_deployment_available{k8s_deployment_name="console"}',
      'otelcol_exporter_queue_capacity{job="collector-node",exporter="otlp_http/loki"}',
    ])
      assert.ok((await value(query)) > 0, query)
  })

  it('nothing of the collectors is left where the namespace of the applications is removed; the next deployment brings them back', async () => {
    await text('docker rm --force receiver; docker start macula-loki')
    const objects = `{ ${kubectl} get namespaces,clusterroles,clusterrolebindings -o name; ${kubectl} get pods -A -o name; }`
    await text(`${kubectl} delete namespace macula`)
    const ours = `${objects} | grep -E 'macula-collector|pod/collector'`
    await until(`! ${ours}`)
    await succeeds('deploy-apps')
    assert.match(await text(ours), /namespace\/macula-collector[\s\S]*clusterrole[\s\S]*pod\/collector-node/)
  })
}
