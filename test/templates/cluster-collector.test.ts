import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { clusterFolder } from '../../lib/cluster/cluster.ts'
import { collectorImage, collectorOverlay } from '../../lib/cluster/collector.ts'
import { identityOf, type KubeObject } from '../../lib/cluster/kubectl.ts'
import { writeOverlay } from '../../lib/cluster/kustomize.ts'
import type { Settings } from '../../lib/platform/settings.ts'
import { root } from '../../lib/system/checkout.ts'
import { PlatformError } from '../../lib/system/errors.ts'
import { $, hasTool } from '../../lib/system/exec.ts'
import { NotYet, waitFor } from '../../lib/system/wait.ts'
import { receiveTelemetry } from '../helpers/otlp-receiver.mjs'
import { examplePaths, goodPlatform } from '../helpers/platform.ts'
import { ask } from '../helpers/run.ts'
import { freePort } from '../helpers/sockets.ts'
import { builtValidator } from '../helpers/validators.ts'

const collector = await builtValidator('collector', 'collector')
const templates = join(root, 'templates/cluster-collector')
const environment = { ...process.env, MACULA_DOMAIN: 'macula.local', NODE_NAME: 'node-1', NODE_IP: '127.0.0.1' }

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'macula-cluster-collector-'))
})
after(() => rm(folder, { recursive: true, force: true }))

describe("the collectors' manifests", { skip: (await hasTool('kubectl')) ? false : 'kubectl is not installed' }, () => {
  const owner: KubeObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'macula', uid: 'its-uid' } }
  const build = async (settings: Partial<Settings> = {}) => {
    const platform = await goodPlatform({ settings, paths: examplePaths(folder) })
    const image = collectorImage(platform)
    const overlay = collectorOverlay(platform, image ?? '', owner)
    await writeOverlay(platform, overlay)
    const text = await $`kubectl kustomize ${join(clusterFolder(platform), overlay.name)}`.text()
    return { image, objects: parseAllDocuments(text).map(document => document.toJS() as KubeObject) }
  }
  const podsIn = (objects: readonly KubeObject[]) =>
    objects.flatMap(({ kind, spec }) =>
      kind === 'DaemonSet' || kind === 'Deployment' ? [(spec as { template: { spec: Pod } }).template.spec] : [],
    )

  it("run the image of the platform's own collector, and send to the platform's domain", async () => {
    const { image, objects } = await build({ MACULA_DOMAIN: 'dev.test' })
    assert.match(image ?? '', /^otel\/opentelemetry-collector-contrib:[\d.]+$/)
    const pods = podsIn(objects)
    assert.deepEqual(
      pods.map(({ containers: [container] }) => container?.image),
      [image, image],
    )
    const config = objects.find(({ kind, data }) => kind === 'ConfigMap' && 'MACULA_DOMAIN' in (data as object))
    assert.deepEqual(config?.data, { MACULA_DOMAIN: 'dev.test' })
    for (const { containers } of pods) assert.equal(containers[0]?.envFrom[0]?.configMapRef.name, config?.metadata.name)
  })

  it('may read, and read no secrets and no settings, and run nothing', async () => {
    const { objects } = await build()
    const rules = objects.flatMap(({ kind, rules }) => (kind === 'ClusterRole' ? (rules as Rule[]) : []))
    assert.deepEqual([...new Set(rules.flatMap(({ verbs }) => verbs))].sort(), ['get', 'list', 'watch'])
    const resources = rules.flatMap(({ resources }) => resources)
    for (const forbidden of ['*', 'secrets', 'configmaps', 'nodes/proxy', 'pods/exec', 'pods/log'])
      assert.ok(!resources.includes(forbidden), forbidden)
  })

  it('see log files read-only, and listen on no address of a node', async () => {
    const { objects } = await build()
    for (const { hostNetwork, containers, volumes } of podsIn(objects)) {
      assert.equal(hostNetwork, undefined)
      for (const { ports = [], volumeMounts, securityContext } of containers) {
        assert.deepEqual(
          ports.filter(port => 'hostPort' in port),
          [],
        )
        assert.ok(volumeMounts.filter(({ name }) => name !== 'state').every(({ readOnly }) => readOnly === true))
        assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] })
      }
      const paths = volumes.flatMap(({ hostPath }) => (hostPath === undefined ? [] : [hostPath.path]))
      assert.ok(
        paths.every(path => ['/var/log/pods', '/var/lib/macula-collector'].includes(path)),
        paths.join(),
      )
    }
  })

  it("go with the applications' namespace: what is in none has it as owner", async () => {
    const { objects } = await build()
    const outlive = objects.filter(({ metadata }) => metadata.namespace === undefined)
    assert.deepEqual(outlive.map(identityOf).sort(), [
      'ClusterRole macula-collector-cluster',
      'ClusterRole macula-collector-node',
      'ClusterRoleBinding macula-collector-cluster',
      'ClusterRoleBinding macula-collector-node',
      'Namespace macula-collector',
    ])
    for (const { metadata } of outlive)
      assert.deepEqual((metadata as { ownerReferences?: object[] }).ownerReferences, [
        { apiVersion: 'v1', kind: 'Namespace', name: 'macula', uid: 'its-uid' },
      ])
  })

  it('are not for a cluster that is not ours', async () => {
    const settings = { CLUSTER: 'existing', CLUSTER_CONTEXT: 'work', REGISTRY: 'registry.example.com/macula' }
    assert.equal(collectorImage(await goodPlatform({ settings, paths: examplePaths(folder) })), undefined)
  })
})

describe("the collectors' configurations", { skip: collector.skip }, () => {
  for (const name of ['node', 'cluster'])
    it(`${name}-collector.yml is accepted by the collector`, async () => {
      const config = await configOf(`${name}-collector.yml`)
      const file = await written(config, `${name}.yml`)
      const { exitCode, stderr } = await ask([collector.program, 'validate', '--config', file], { env: environment })
      assert.equal(exitCode, 0, stderr)
    })

  it('an event receiver with a setting that is not there is refused with its name', async () => {
    const config = await configOf('cluster-collector.yml')
    config.receivers.k8s_events.namespace = 'default'
    const file = await written(config, 'wrong.yml')
    const { exitCode, stderr } = await ask([collector.program, 'validate', '--config', file], { env: environment })
    assert.equal(exitCode, 1)
    assert.match(stderr, /k8s_events[\s\S]*namespace/)
  })
})

describe("a node's collector with our configuration", { skip: collector.skip }, () => {
  let receiver: Awaited<ReturnType<typeof receiveTelemetry>>
  let program: ChildProcess
  let config: string
  let state: string
  const received: Line[] = []
  const receive = (port: number) => receiveTelemetry({ port, onLine: line => received.push(line as Line) })
  const of = (pod: string) => received.filter(({ resource }) => resource['k8s.pod.name'] === pod)
  const arrived = (pod: string, last: string) =>
    waitFor(() => of(pod).some(({ body }) => body === last) || new NotYet(`${of(pod).length} lines`), {
      timeoutMs: 60_000,
      onTimeout: seen => new PlatformError(`${last} of ${pod} did not come: ${seen}`),
    })
  const print = (pod: string, parts: readonly string[], namespace = 'default') =>
    writeLog(folder, namespace, pod, parts)

  before(async () => {
    receiver = await receive(0)
    state = join(folder, 'state')
    config = await written(await configWithoutCluster(folder, receiver.port), 'running.yml')
    program = start(config)
  })
  after(async () => {
    await stop(program)
    await receiver.stop()
  })

  it('sends the line of a pod once, with namespace, pod and container', async () => {
    await print('shop-1', ['F one', 'F two'])
    await arrived('shop-1', 'two')
    assert.deepEqual(
      of('shop-1').map(({ body }) => body),
      ['one', 'two'],
    )
    const { 'k8s.namespace.name': namespace, 'k8s.container.name': container } = of('shop-1')[0]?.resource ?? {}
    assert.deepEqual([namespace, container, of('shop-1')[0]?.service], ['default', 'application', 'application'])
    assert.equal(of('shop-1')[0]?.attributes['log.iostream'], 'stdout')
  })

  it('joins a long line that the runtime has cut into parts', async () => {
    await print('long-1', [`P ${'x'.repeat(16_384)}`, `P ${'y'.repeat(16_384)}`, 'F end', 'F short'])
    await arrived('long-1', 'short')
    assert.deepEqual(
      of('long-1').map(({ body }) => body),
      [`${'x'.repeat(16_384)}${'y'.repeat(16_384)}end`, 'short'],
    )
  })

  it('does not read the lines of the collectors themselves', async () => {
    await print('collector-node-1', ['F of its own'], 'macula-collector')
    await print('shop-2', ['F after it'])
    await arrived('shop-2', 'after it')
    assert.deepEqual(of('collector-node-1'), [])
  })

  it('keeps a bounded part of what comes while Loki is away on the disk, and sends all of it, once, when Loki is back', async context => {
    const { port } = receiver
    await receiver.stop()
    // ten times what the queue of this test may hold, in more than one start of the program
    const line = (index: number) => `F ${index} ${'z'.repeat(1000)}`
    await print(
      'storm-1',
      Array.from({ length: 1000 }, (_, index) => line(index)),
    )
    await waitFor(async () => (await sizeOf(state)) > bound / 2 || new NotYet('nothing is queued'), {
      timeoutMs: 20_000,
      onTimeout: seen => new PlatformError(String(seen)),
    })
    await stop(program)
    program = start(config)
    await print('storm-1', [...Array.from({ length: 1000 }, (_, index) => line(1000 + index)), 'F last'])
    const largest = await largestWithin(3000, () => sizeOf(state))
    context.diagnostic(`${largest} bytes on the disk of 2,060,000 that were written`)
    assert.ok(largest < 4 * bound, `${largest} bytes`)
    receiver = await receive(port)
    await arrived('storm-1', 'last')
    await waitFor(() => of('storm-1').length > 2000 || new NotYet(`${of('storm-1').length} lines`), {
      timeoutMs: 30_000,
      onTimeout: seen => new PlatformError(String(seen)),
    })
    const numbers = of('storm-1').flatMap(({ body }) => (body === 'last' ? [] : [Number(body.split(' ')[0])]))
    // several batches are on their way at once
    assert.deepEqual(
      numbers.sort((one, other) => one - other),
      Array.from({ length: 2000 }, (_, index) => index),
    )
  })
})

/** Bytes that the queue of the test holds. */
const bound = 200_000

interface Pod {
  hostNetwork?: boolean
  containers: {
    image: string
    envFrom: { configMapRef: { name: string } }[]
    ports?: object[]
    volumeMounts: { name: string; readOnly?: boolean }[]
    securityContext: { capabilities: object }
  }[]
  volumes: { hostPath?: { path: string } }[]
}

interface Rule {
  resources: string[]
  verbs: string[]
}

interface Line {
  service: string
  resource: Record<string, string>
  body: string
  attributes: Record<string, string>
}

/** A configuration as a machine without a cluster can judge it: an account's files are looked for as soon as it is read. */
async function configOf(name: string) {
  const config = parse(await readFile(join(templates, name), 'utf8'))
  if (config.receivers.kubeletstats) config.receivers.kubeletstats.auth_type = 'none'
  return config
}

/** That of a node, with files and addresses of this test, and without what asks an API server. */
async function configWithoutCluster(folder: string, port: number) {
  const config = await configOf('node-collector.yml')
  const { file_log: logs } = config.receivers
  logs.include = logs.include.map((path: string) => join(folder, path))
  logs.exclude = logs.exclude.map((path: string) => join(folder, path))
  const state = join(folder, 'state')
  Object.assign(config.extensions.file_storage, { directory: state })
  config.extensions.file_storage.compaction.directory = state
  config.extensions.health_check.endpoint = `127.0.0.1:${await freePort()}`
  const loki = config.exporters['otlp_http/loki']
  loki.endpoint = `http://127.0.0.1:${port}/otlp`
  for (const { retry_on_failure } of [loki, logs])
    Object.assign(retry_on_failure, { initial_interval: '100ms', max_interval: '500ms' })
  Object.assign(loki.sending_queue, { queue_size: bound })
  Object.assign(loki.sending_queue.batch, { min_size: 10_000, max_size: 50_000 })
  const { logs: pipeline } = config.service.pipelines
  pipeline.receivers = ['file_log']
  pipeline.processors = pipeline.processors.filter((name: string) => name !== 'k8s_attributes')
  config.service.pipelines = { logs: pipeline }
  config.service.telemetry.metrics = { level: 'none' }
  return config
}

async function written(config: object, name: string): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, stringify(config, { defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN' }))
  return file
}

function start(config: string): ChildProcess {
  return spawn(collector.program, ['--config', config], { env: environment, stdio: 'ignore' })
}

async function stop(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null) return
  const gone = once(program, 'exit')
  program.kill('SIGTERM')
  await gone
}

/** Writes as containerd does: `F` for the last part of a line, `P` for every other. */
async function writeLog(folder: string, namespace: string, pod: string, parts: readonly string[]): Promise<void> {
  const file = join(folder, 'var/log/pods', `${namespace}_${pod}_0a1b2c3d-4e5f`, 'application/0.log')
  await mkdir(dirname(file), { recursive: true })
  const lines = parts.map((part, index) => {
    const nanoseconds = String(index).padStart(9, '0')
    return `2026-11-26T12:00:00.${nanoseconds}Z stdout ${part}\n`
  })
  await appendFile(file, lines.join(''))
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder)
  const files = await Promise.all(names.map(name => stat(join(folder, name)).catch(() => undefined)))
  return files.reduce((sum, file) => sum + (file?.size ?? 0), 0)
}

async function largestWithin(milliseconds: number, measure: () => Promise<number>): Promise<number> {
  let largest = 0
  for (const end = Date.now() + milliseconds; Date.now() < end; await new Promise(resolve => setTimeout(resolve, 100)))
    largest = Math.max(largest, await measure())
  return largest
}
