import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../../../lib/system/checkout.ts'
import { applications, identities, kubectl, restartEngine, speakingTo, underLoad } from '../../helpers/cluster.ts'
import { collectorTests } from '../../helpers/collector-tests.ts'
import type { Span } from '../../helpers/otlp-receiver.mjs'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

const reason = await noSandbox()

describe('the cluster in a sandbox', { skip: reason }, () => {
  let sandbox: TestSandbox
  let folder: string
  const { task, succeeds, fails, text, atTerminal, imageOf } = speakingTo(() => sandbox)

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-console-'))
    sandbox = await startSandbox({ cluster: true })
  })
  after(async () => {
    await sandbox?.end()
    await rm(folder, { recursive: true, force: true })
  })

  for (const application of applications) {
    it(`http://${application}.macula.local and https:// answer, the latter with a certificate of the local CA`, async () => {
      assert.match(await text(`curl -fsS http://${application}.macula.local`), new RegExp(`<title>${application}<`))
      const page = await text(`curl -fsS --cacert $MACULA_STATE_DIR/tls/ca.crt https://${application}.macula.local`)
      assert.match(page, new RegExp(`<title>${application}<`))
    })
  }

  it('a datagram to 127.0.0.2:4433 reaches peer1 and its answer comes back, and peers reach each other', async () => {
    assert.match(await text(`echo hello | socat -t 3 - UDP:127.0.0.2:4433`), /^peer1 .* heard: hello/)
    assert.match(await text('curl -fsS http://peer1.macula.local/peers'), /"answer":"peer2 .* heard: hello from peer1"/)
    assert.match(await text('curl -fsS http://peer2.macula.local/peers'), /"answer":"peer1 .* heard: hello from peer2"/)
  })

  it('the portal probes each application, and knows the image of each', async () => {
    const digests = JSON.parse(await text('curl -fsS http://home.macula.local/applications.json')) as Record<
      string,
      string
    >
    for (const application of applications) {
      const probe = `http://home.macula.local/health/applications/${application}`
      assert.equal(await text(`curl -sS -o /dev/null -w '%{http_code}' ${probe}`), '200', application)
      assert.match(digests[application] ?? '', /^sha256:[0-9a-f]{64}$/, application)
    }
  })

  it('names of the platform work from inside a pod as they do outside', async () => {
    const urls = [
      'http://s3.macula.local:9000/minio/health/live',
      'http://s3-console.macula.local/',
      'http://registry.macula.local/v2/',
      'http://registry.macula.local:5001/v2/',
      'http://prometheus.macula.local:9090/-/ready',
      'http://console.macula.local/health',
    ]
    const program = `for (const url of ${JSON.stringify(urls)}) console.log(url, (await fetch(url)).status)
      const { connect } = await import('node:net')
      for (const [host, port] of [['postgres', 5432], ['tempo', 3200]])
        await new Promise((done, fail) => connect(port, host + '.macula.local', done).on('error', fail))
      console.log('connected'); process.exit()`
    const seen = await sandbox.exec(`${kubectl} -n macula exec -i deploy/console -- node --input-type=module -`, {
      input: program,
    })
    assert.equal(seen.stdout, `${urls.map(url => `${url} 200\n`).join('')}connected\n`, seen.stderr)
  })

  describe("a request through three applications, with a name of the caller's own for it", () => {
    const name = 'shown-by-a-test'
    const ask = `curl -fsS -H 'x-request-id: ${name}' http://console.macula.local/call/peer1/peer2`
    let traceId: string

    before(async () => {
      // Tempo itself is not to be had here; whoever stands at its address gets what it would get
      await text('docker stop macula-tempo')
      await text(`docker run --detach --name tempo-receiver --network macula-infra --ip 172.23.0.23 --user 0 --volume ${root}:${root}:ro \
        --entrypoint node localhost:5001/macula/console:dev ${root}/test/helpers/otlp-receiver.mjs 0.0.0.0 4318
        for i in $(seq 100); do curl -s -o /dev/null http://172.23.0.23:4318 && break; sleep 0.1; done`)
      traceId = (JSON.parse(await text(ask)) as { traceId: string }).traceId
    })
    after(() => text('docker rm --force tempo-receiver && docker start macula-tempo'))

    it("reaches Tempo's address as one trace, in which each call is the parent of what was asked", async () => {
      const received = await text(
        `for i in $(seq 50); do [ $(docker logs tempo-receiver | grep -c '"${traceId}"') -ge 5 ] && break; sleep 0.2; done
         docker logs tempo-receiver | grep '"${traceId}"'`,
      )
      const spans = received.split('\n').map(line => JSON.parse(line) as Span)
      const chain: Span[] = []
      for (let parent: string | undefined; chain.length < spans.length; parent = chain.at(-1)?.spanId) {
        const next = spans.find(({ parentSpanId }) => parentSpanId === parent)
        assert.ok(next, `no span below ${parent} in ${received}`)
        chain.push(next)
      }
      assert.deepEqual(
        chain.map(({ service, kind, name }) => `${service} ${kind} ${name}`),
        [
          'console server GET /call',
          'console client GET',
          'peer1 server GET /call',
          'peer1 client GET',
          'peer2 server GET /call',
        ],
      )
      for (const { kind, attributes } of chain)
        if (kind === 'server') assert.deepEqual(attributes['http.request.header.x-request-id'], [name])
      assert.ok(chain.every(({ resource }) => /^(console|peer\d)-[\w-]+$/.test(String(resource['k8s.pod.name']))))
    })

    it('is found in the log of each application by the id of the trace', async () => {
      for (const application of ['console', 'peer1', 'peer2']) {
        const line = await text(`${kubectl} -n macula logs deploy/${application} | grep '"trace_id":"${traceId}"'`)
        const { level, path, request_id } = JSON.parse(line)
        assert.deepEqual([level, path.split('/')[1], request_id], ['info', 'call', name])
      }
    })

    it('is beside a duration in Prometheus, as an exemplar', async context => {
      const url = 'http://prometheus.macula.local/api/v1/query_exemplars'
      const query = 'http_request_duration_seconds_bucket{job="console",route="/call"}'
      // only the last request of a bucket is kept, and the application sends some of its own at first
      const script = `for i in $(seq 60); do
          ${ask} | grep -oE '[0-9a-f]{32}' | head -1 >>/tmp/asked
          curl -fsSG ${url} --data-urlencode 'query=${query}' -d start=$(($(date +%s) - 600)) -d end=$(($(date +%s) + 60)) >/tmp/exemplars
          grep --quiet --fixed-strings --file=/tmp/asked /tmp/exemplars && { echo $i; break; }
          sleep 1
        done; cat /tmp/exemplars`
      const [tries, ...answer] = (await text(script)).split('\n')
      const { data } = JSON.parse(answer.join('\n')) as { data: { exemplars: { labels: { trace_id: string } }[] }[] }
      const found = data.flatMap(({ exemplars }) => exemplars).map(({ labels }) => labels.trace_id)
      const asked = (await text('cat /tmp/asked')).split('\n')
      assert.ok(asked.some(id => found.includes(id)))
      context.diagnostic(`after ${tries} s`)
    })
  })

  it('the manifests of ingress-nginx are accepted by the API server', async () => {
    // its image is not to be had here, so that is as far as it goes
    const applied = await text(
      `kubectl kustomize templates/ingress/nginx | ${kubectl} apply --server-side --force-conflicts --field-manager macula --dry-run=server -f -`,
    )
    assert.match(applied, /deployment.apps\/ingress-controller serverside-applied/)
  })

  it('status, verify and logs know the cluster', async () => {
    const { cluster } = JSON.parse((await task('status --json')).stdout)
    const states = cluster.map(({ name, state }: { name: string; state: string }) => `${name} ${state}`)
    assert.deepEqual(
      states,
      ['macula-control-plane', 'ingress', ...applications, 'collector'].map(name => `${name} healthy`),
    )
    // Prometheus looks every ten seconds; until then that check is neither right nor wrong
    await text(
      `for i in $(seq 60); do curl -fsS 'http://prometheus.macula.local/api/v1/query?query=up' | grep '"job":"console"' && break; sleep 1; done`,
    )
    const { checks } = JSON.parse((await task('verify --json')).stdout) as { checks: { name: string; ok: boolean }[] }
    const named = checks.filter(({ name }) => /console|4433|node /.test(name) && !name.includes('s3-console'))
    const right = named.filter(({ ok }) => ok).map(({ name }) => name)
    assert.deepEqual(right, [...new Set([...right, 'metrics of console', 'page https://console.macula.local'])])
    assert.equal(right.length, named.length, JSON.stringify(named))
    assert.match((await task('logs console')).stdout, /"application":"console"/)
  })

  collectorTests(text, succeeds)

  it('a second setup makes nothing anew and says so', async () => {
    const first = await text(identities)
    const said = await succeeds('cluster --yes')
    assert.equal(await text(identities), first)
    const outcomes = [...said.matchAll(/^✓ .*? {2}(\S.*?) {2}[\d.]+ s$/gm)].map(([, outcome]) => outcome)
    assert.deepEqual([...new Set(outcomes)], ['unchanged'], said)
  })

  it('what somebody changed by hand is set back and said; a record that was cut off costs an apply, and nothing else', async () => {
    const outcomeOf = (said: string, step: string) => new RegExp(`^✓ ${step} {2}(\\S+)`, 'm').exec(said)?.[1]
    await text(`${kubectl} --namespace macula scale deployment/peer2 --replicas 2
      ${kubectl} --namespace macula-platform delete service name-s3
      ${kubectl} --namespace kube-public delete configmap local-registry-hosting
      ${kubectl} --namespace ingress delete ingressclass nginx
      ${kubectl} --namespace macula-collector scale deployment/collector-cluster --replicas 0`)
    const cluster = await succeeds('setup-cluster')
    assert.equal(outcomeOf(cluster, 'Resolve the names of the platform inside pods'), 'updated', cluster)
    assert.equal(outcomeOf(cluster, 'Configure the nodes to pull from the registry'), 'updated', cluster)
    assert.equal(outcomeOf(await succeeds('deploy-ingress'), 'Apply the manifests'), 'created')
    const applications = await succeeds('deploy-apps')
    assert.equal(outcomeOf(applications, 'Apply the manifests'), 'updated', applications)
    assert.equal(outcomeOf(applications, "Apply the collector's manifests"), 'updated', applications)
    assert.equal(await text(`${kubectl} --namespace macula get deployment peer2 -o jsonpath={.spec.replicas}`), '1')
    const record = sandbox.path('/run/macula/state/cluster/applied/apps.json')
    await writeFile(record, (await readFile(record, 'utf8')).slice(0, 20))
    assert.equal(outcomeOf(await succeeds('deploy-apps'), 'Apply the manifests'), 'unchanged')
    assert.match(await readFile(record, 'utf8'), /^\{.*\}$/)
  })

  it('an edited application is the only one rebuilt, and replaced without a request lost', async context => {
    await cp(join(root, 'templates/applications/placeholder'), folder, { recursive: true })
    const program = join(folder, 'server.mjs')
    await writeFile(program, (await readFile(program, 'utf8')).replace("VERSION || '1'", "VERSION || '2'"))
    const [console, bootstrap] = [await imageOf('console'), await imageOf('bootstrap')]
    let said = ''
    const load = await underLoad(sandbox, 'http://console.macula.local', async () => {
      said = await succeeds('build-and-push', { CONSOLE_SOURCE: folder })
      await succeeds('deploy-apps', { CONSOLE_SOURCE: folder })
    })
    context.diagnostic(`${load.requests} requests during the roll-out, p95 ${load.p95.toFixed(0)} ms`)
    assert.deepEqual(load.errors, [])
    assert.deepEqual(load.versions, ['1', '2'])
    assert.match(said, /console .* sha256:\w+ → sha256:\w+ {2}updated/)
    for (const other of ['bootstrap', 'peer1', 'peer2']) assert.match(said, new RegExp(`${other} .* unchanged`))
    assert.notEqual(await imageOf('console'), console)
    assert.equal(await imageOf('bootstrap'), bootstrap)
  })

  it('an image that neither registry nor engine has is named before anything is applied; the next build heals it', async () => {
    const record = sandbox.path('/run/macula/state/cluster/images/console.json')
    const text = await readFile(record, 'utf8')
    await writeFile(record, text.replace(/"digest": "sha256:\w+"/, `"digest": "sha256:${'0'.repeat(64)}"`))
    const { stderr } = await fails('deploy-apps')
    assert.match(
      stderr,
      /✗ Neither the registry nor the engine has the image of console any more\n.*→ task build-and-push/,
    )
    await succeeds('build-and-push')
    await succeeds('deploy-apps')
  })

  it('bad input is named with what to do about it, and changes nothing', async () => {
    await writeFile(join(folder, 'Dockerfile'), 'FROM node:24-alpine\nRUN echo nearly there && exit 7\n')
    const build = await fails('build-and-push', { CONSOLE_SOURCE: folder })
    assert.match(
      build.stderr,
      /✗ The image of console could not be built from .*: `echo nearly there && exit 7` ended with exit code 7\n/,
    )
    assert.match(build.stderr, /nearly there/)
    assert.equal(build.exitCode, 1)
    const source = await fails('build-and-push', { PEER1_SOURCE: '/nowhere' })
    assert.deepEqual([source.exitCode, /PEER1_SOURCE: \/nowhere does not exist/.test(source.stderr)], [2, true])
    const other = await fails('setup-cluster', { INGRESS_HTTP_PORT: '9080' })
    assert.match(other.stderr, /hostPort: 8080 → 9080/)
    assert.match(other.stderr, /--recreate/)
    const context = await fails('setup-cluster', { CLUSTER: 'existing', CLUSTER_CONTEXT: 'nobody' })
    assert.match(context.stderr, /There is no context nobody/)
    await text('docker stop macula-registry')
    const registry = await fails('build-and-push')
    assert.match(registry.stderr, /✗ The registry does not answer at http:\/\/127\.0\.0\.1:5001/)
    await text('docker start macula-registry')
    // the checkout's own file in front of everybody, with another one over it in the sandbox alone
    const manifest = join(root, 'templates/apps/console/application.yaml')
    await writeFile(join(folder, 'wrong.yaml'), (await readFile(manifest, 'utf8')).replace('targetPort', 'targetport'))
    await text(`mount --bind ${join(folder, 'wrong.yaml')} ${manifest}`)
    const wrong = await fails('deploy-apps')
    assert.match(wrong.stderr, /✗ kind-macula did not accept the manifests\n[\s\S]*targetport/)
    await text(`umount ${manifest}`)
  })

  it('what an application that is gone left is removed only where somebody says so', async () => {
    const left = `${kubectl} -n macula get deployments,services,ingresses -l app.kubernetes.io/name=shop -o name`
    await sandbox.exec(
      `sed 's/bootstrap/shop/g' templates/apps/bootstrap/application.yaml | ${kubectl} -n macula apply -f -
       ${kubectl} -n macula label deployments,services,ingresses -l app.kubernetes.io/name=shop app.kubernetes.io/part-of=macula`,
    )
    const objects = ['deployment.apps/shop', 'service/shop', 'ingress.networking.k8s.io/shop']
    assert.deepEqual((await text(left)).split('\n'), objects)
    const said = await succeeds('deploy-apps')
    assert.match(said, /Left over from applications that are gone: .*shop.*task deploy-apps -- --yes/)
    await atTerminal('deploy-apps', 'Remove what the catalogue does not name', 'n')
    assert.deepEqual((await text(left)).split('\n'), objects)
    const asked = await atTerminal('deploy-apps', 'Remove what the catalogue does not name', 'y')
    assert.match(asked, /Remove .*shop/)
    assert.equal(await text(left), '')
    for (const application of applications) await text(`curl -fsS http://${application}.macula.local`)
  })

  it('after a restart of the engine everything answers again with no command but start', async () => {
    await text(restartEngine)
    await succeeds('start')
    await text('curl -fsS http://registry.macula.local/v2/')
    await text('curl -fsS --cacert $MACULA_STATE_DIR/tls/ca.crt https://console.macula.local')
    for (const application of applications)
      assert.match(await text(`curl -fsS http://${application}.macula.local`), new RegExp(`<title>${application}<`))
  })

  it('a stopped cluster is said to be stopped, and starts again', async () => {
    await succeeds('stop-cluster')
    assert.match((await fails('deploy-apps')).stderr, /The cluster macula does not answer[\s\S]*task start-cluster/)
    const { cluster } = JSON.parse((await task('status --json')).stdout)
    assert.equal(cluster[0].state, 'stopped')
    await succeeds('start-cluster')
    await text('curl -fsS http://console.macula.local')
  })
})
