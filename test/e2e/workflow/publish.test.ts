import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { goodPlatform } from '../../helpers/platform.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

const skip = await noSandbox()

/** Every page of the plan, with and without port; placeholders answer on their health path only. */
const pages = [
  'http://home.macula.local/',
  'http://registry.macula.local/',
  'http://registry.macula.local/v2/',
  'http://localhost:5001/v2/',
  'http://dns.macula.local/metrics',
  'http://dns-admin.macula.local/ping',
  'http://prometheus.macula.local/-/ready',
  'http://prometheus.macula.local:9090/-/ready',
  'http://grafana.macula.local/api/health',
  'http://grafana.macula.local:3000/api/health',
  'http://loki.macula.local/ready',
  'http://loki.macula.local:3100/ready',
  'http://tempo.macula.local/ready',
  'http://tempo.macula.local:3200/ready',
  'http://s3.macula.local/minio/health/live',
  'http://s3.macula.local:9000/minio/health/live',
  'http://s3-console.macula.local/',
  'http://s3-console.macula.local:9001/',
]
const applications = ['console', 'bootstrap', 'peer1', 'peer2'].map(name => `http://${name}.macula.local/`)

/** Every TCP listener on the loopback addresses of routes, with the program that has it. */
const listeners = `ss --listening --numeric --tcp --processes --no-header | awk '{ print $4, $NF }' |
  grep -v '^127.0.0.1[:%]' | sed -E 's/users:\\(\\("([^"]+)".*/\\1/' | sort -u`

describe('routes that containers publish themselves', { skip }, () => {
  let sandbox: TestSandbox
  let withSocat: string
  const task = (words: string, ROUTING: string) =>
    sandbox.exec(`node lib/cli/launch.mjs ${words} --yes`, { env: { CI: '1', ROUTING } })
  const succeeds = async (words: string, routing: string) => {
    const { exitCode, stdout, stderr } = await task(words, routing)
    assert.equal(exitCode, 0, `${words}: ${stdout}\n${stderr}`)
    return stderr
  }
  const text = async (script: string) => (await sandbox.exec(script)).stdout.trim()
  const silent = async (urls: readonly string[]) => {
    const answers = await text(
      `for url in ${urls.join(' ')}; do echo $url $(curl -s -m 10 -o /dev/null -w '%{http_code}' $url); done`,
    )
    return answers.split('\n').filter(line => !line.endsWith(' 200'))
  }

  before(async () => {
    sandbox = await startSandbox({ cluster: true, workflow: false })
    await succeeds('platform', 'socat')
    await succeeds('setup-kind-routing', 'socat')
    withSocat = await text(listeners)
    assert.match(withSocat, /^127\.0\.0\.2:80 socat$/m)
  })
  after(() => sandbox?.end())

  it('take over from socat, and leave none of it', async () => {
    await succeeds('platform', 'publish')
    const { routes } = await goodPlatform()
    const expected = routes.map(({ listen }) => `${listen.ip}:${listen.port} docker-proxy`)
    const ofCluster = ['127.0.0.2:80 socat', '127.0.0.2:443 socat']
    assert.deepEqual((await text(listeners)).split('\n'), [...expected, ...ofCluster].sort())
    assert.deepEqual(await silent(pages), [])
    assert.equal(await text('exec 3<>/dev/tcp/postgres.macula.local/5432 && echo open'), 'open')
  })

  it('are found right the second time, without a container made anew', async () => {
    const containers = `docker ps --no-trunc --format '{{.ID}}' | sort`
    const before = await text(containers)
    const said = await succeeds('platform', 'publish')
    assert.equal(await text(containers), before)
    assert.doesNotMatch(said, /created|updated|removed/)
  })

  it('are right in every check of verify', async () => {
    const { stdout } = await task('verify --json', 'publish')
    const { checks } = JSON.parse(stdout) as { checks: { name: string; service: string; ok: boolean | null }[] }
    // the cluster is not there yet
    const wrong = checks.filter(
      ({ ok, service, name }) => ok === false && !/cluster|console|bootstrap|peer/.test(service + name),
    )
    assert.deepEqual(wrong, [])
  })

  it('take the way to the cluster along: its node has the address itself', async () => {
    await succeeds('cluster', 'publish')
    assert.match(await text(listeners), /^127\.0\.0\.2:443 docker-proxy\n127\.0\.0\.2:80 docker-proxy$/m)
    assert.equal(await text('pgrep socat; true'), '')
    assert.deepEqual(await silent([...pages, ...applications]), [])
    assert.equal(await text(`curl -sk -m 10 -o /dev/null -w '%{http_code}' https://console.macula.local/`), '200')
  })

  it('go back to socat, and the cluster says what that takes', async () => {
    await succeeds('platform', 'socat')
    assert.deepEqual(await silent(pages), [])
    const { exitCode, stderr } = await task('setup-cluster', 'socat')
    assert.equal(exitCode, 1)
    assert.match(stderr, /was created with another configuration.*extraPortMappings.*--recreate/s)
    assert.deepEqual(await silent(applications), [])
    await succeeds('setup-cluster --recreate', 'socat')
    await succeeds('setup-kind-routing', 'socat')
    const ofNode = /^127\.0\.0\.2:4433 .*\n?/gm
    assert.equal((await text(listeners)).replace(ofNode, ''), withSocat)
  })

  it('are gone with all the rest after a teardown', async () => {
    await succeeds('platform', 'publish')
    await succeeds('teardown --volumes', 'publish')
    assert.equal(await text(listeners), '')
    assert.equal(await text('pgrep socat; docker ps -aq; docker network ls -q --filter name=macula'), '')
  })
})
