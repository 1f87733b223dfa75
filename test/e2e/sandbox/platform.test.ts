import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import type { Result } from '../../../lib/system/exec.ts'
import { documentedAddresses, goodPlatform } from '../../helpers/platform.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

const reason = await noSandbox()

/** Everything of /etc that teardown has to give back: bytes, mode, owner, links. */
const etcSnapshot = `cd /etc; find . -printf '%p %y %m %U:%G %l\\n' | sort; find . -type f -exec sha256sum {} + | sort -k2`
const listeners = `ss --listening --numeric --tcp --udp --no-header | awk '{ print $5 }' | sort -u`
/** Ids and start times of containers, and times of every rendered file. */
const traces = `docker ps -q | xargs docker inspect --format '{{.Name}} {{.Id}} {{.State.StartedAt}}' | sort
  find "$MACULA_STATE_DIR" /etc/macula -type f -not -path '*/log/*' -not -path '*/lock/*' -printf '%p %T@ %i\\n' | sort; pgrep -a 'socat|dnsmasq' | sort`

describe('the platform in a sandbox', { skip: reason }, () => {
  let sandbox: TestSandbox
  let etcBefore: string
  const task = (words: string, options = {}): Promise<Result> =>
    sandbox.exec(`node lib/cli/launch.mjs ${words}`, { env: { CI: '1' }, ...options })
  const succeeds = async (words: string) => {
    const { exitCode, stdout, stderr } = await task(words)
    assert.equal(exitCode, 0, `${stdout}\n${stderr}`)
  }
  const text = async (script: string) => (await sandbox.exec(script)).stdout.trim()

  before(async () => {
    sandbox = await startSandbox({
      workflow: false,
      env: { MACULA_LOCAL_COMPOSE: '/run/macula/docker-compose.local.yml' },
    })
    etcBefore = await text(etcSnapshot)
  })
  after(() => sandbox?.end())

  it('comes up with one command, and tells each step on stderr', async () => {
    const { exitCode, stderr } = await task('platform --yes')
    assert.equal(exitCode, 0, stderr)
    assert.match(stderr, /✓ Start containers/)
  })

  for (const [name, ip] of Object.entries({ ...documentedAddresses, anything: '127.0.0.2' })) {
    it(`${name}.macula.local is ${ip} for getent and dig, and has no IPv6 address`, async () => {
      assert.match(await text(`getent hosts ${name}.macula.local`), new RegExp(`^${ip}\\s`))
      assert.equal(await text(`dig +short A ${name}.macula.local`), ip)
      assert.match(await text(`dig AAAA ${name}.macula.local`), /status: NOERROR.*ANSWER: 0/s)
    })
  }

  const pages = [
    'http://home.macula.local/',
    'http://registry.macula.local/v2/',
    'http://prometheus.macula.local/-/ready',
    'http://prometheus.macula.local:9090/-/ready',
    'http://loki.macula.local/ready',
    'http://loki.macula.local:3100/ready',
    'http://s3.macula.local/minio/health/live',
    'http://s3.macula.local:9000/minio/health/live',
    'http://s3-console.macula.local/',
    'http://s3-console.macula.local:9001/',
  ]
  for (const url of pages) {
    it(`${url} answers`, async () => assert.equal(await text(`curl -fsS -o /dev/null -w '%{http_code}' ${url}`), '200'))
  }

  it('takes an image at localhost:5001 and gives it back', async () => {
    const image = 'localhost:5001/macula/portal:e2e'
    const { exitCode, stderr } = await sandbox.exec(
      `set -e; docker tag nginx:1.30.4-alpine ${image}; docker push -q ${image}; docker rmi ${image}; docker pull -q ${image}; docker rmi ${image}`,
    )
    assert.equal(exitCode, 0, stderr)
  })

  it('listens nowhere outside 127.0.0.0/8', async () => {
    const outside = (await text(listeners)).split('\n').filter(address => !address.startsWith('127.'))
    assert.deepEqual(outside, [])
  })

  it('is right in every check of verify that has a real daemon', async () => {
    const { stdout } = await task('verify --json')
    const { checks } = JSON.parse(stdout) as { checks: { name: string; ok: boolean | null; detail: string }[] }
    assert.deepEqual(
      checks.filter(({ ok }) => ok === false),
      [],
    )
    assert.ok(checks.filter(({ ok }) => ok === true).length >= 35, `${checks.length} checks`)
  })

  it('shows in a browser which services answer', {
    skip: !existsSync('/usr/bin/chromium') && 'chromium is not installed',
  }, async () => {
    const page = () => sandbox.exec('node test/helpers/portal-page.mjs http://home.macula.local/')
    // nginx tries the ports of databases with its healthcheck, every ten seconds
    await sandbox.exec(
      'for i in $(seq 15); do curl -fsS http://home.macula.local/health/timescaledb >/dev/null && break; sleep 1; done',
    )
    const healthy = await page()
    assert.equal(healthy.exitCode, 0, healthy.stderr)
    const states = new Map(JSON.parse(healthy.stdout) as [string, string][])
    const { services } = JSON.parse((await task('status --json')).stdout) as {
      services: { name: string; standin: string | null }[]
    }
    const expected = services
      .filter(({ name }) => states.has(`/health/${name}`))
      .map(({ name, standin }) => [`/health/${name}`, standin === 'placeholder' ? 'placeholder' : 'up'])
    assert.ok(expected.length >= 10, healthy.stdout)
    // without a cluster
    const applications = ['console', 'bootstrap', 'peer1', 'peer2'].map(name => [
      `/health/applications/${name}`,
      'down',
    ])
    assert.deepEqual([...states].sort(), [...expected, ...applications].sort())
    await sandbox.exec('docker stop macula-loki macula-timescaledb')
    await sandbox.exec('sleep 11')
    const { stdout } = await page()
    await sandbox.exec('docker start macula-loki macula-timescaledb')
    assert.deepEqual(
      (JSON.parse(stdout) as [string, string][]).filter(([path, state]) => states.get(path) !== state),
      [
        ['/health/loki', 'down'],
        ['/health/timescaledb', 'down'],
      ],
    )
  })

  it('prints its status as one JSON document', async () => {
    const { services } = JSON.parse((await task('status --json')).stdout)
    assert.equal(services.length, (await goodPlatform()).services.length)
    for (const service of services)
      for (const key of ['name', 'group', 'url', 'address', 'state'])
        assert.equal(typeof service[key], 'string', `${service.name}.${key}`)
  })

  it('set up a second time, recreates nothing, rewrites nothing and says so', async () => {
    const untouched = await text(traces)
    const { exitCode, stderr } = await task('platform --yes')
    assert.equal(exitCode, 0, stderr)
    assert.equal(await text(traces), untouched)
    assert.doesNotMatch(stderr, /created|updated|restored/)
    assert.match(stderr, /Nothing to do/)
  })

  it('recreates what is described differently after a start of other services alone', async () => {
    const loki = () => text("docker ps -q --filter name='^macula-loki$'")
    const before = await loki()
    const set = (days: string) => sandbox.exec(`sed -i -E 's/^LOGS_DAYS=.*/LOGS_DAYS=${days}/' "$MACULA_ENV_FILE"`)
    const days = await text(`sed -n 's/^LOGS_DAYS=//p' "$MACULA_ENV_FILE"`)
    await set('3')
    await sandbox.exec('docker stop macula-nginx')
    await succeeds('start-infrastructure nginx --yes')
    // it had ended with 0, as one does that is stopped
    assert.notEqual(await text("docker ps -q --filter name='^macula-nginx$'"), '')
    assert.equal(await loki(), before)
    await succeeds('start-infrastructure --yes')
    assert.notEqual(await loki(), before)
    await set(days)
    await succeeds('platform --yes')
  })

  it('gives a service of a docker-compose.local.yml its name, route, page and status row', async () => {
    const local =
      'services:\n  own:\n    image: registry:3.1.1\n    x-macula: { group: tools, host: own, loopback: 127.0.0.9, ports: [5000], health: /v2/ }\n'
    await sandbox.exec('cat > "$MACULA_LOCAL_COMPOSE"', { input: local })
    await succeeds('platform --yes')
    assert.equal(
      await text(
        `curl -fsS -o /dev/null -w '%{http_code} ' http://own.macula.local/v2/ -o /dev/null http://own.macula.local:5000/v2/`,
      ),
      '200 200',
    )
    assert.match(await text('getent hosts own.macula.local'), /^127\.0\.0\.9\s/)
    const { services } = JSON.parse((await task('status --json')).stdout)
    assert.ok(
      services.some(({ name, state }: { name: string; state: string }) => name === 'own' && state === 'healthy'),
    )
    assert.match(await text('curl -fsS http://home.macula.local/'), /own\.macula\.local/)
  })

  it('takes the service away again when the file goes', async () => {
    await sandbox.exec('rm "$MACULA_LOCAL_COMPOSE"')
    await succeeds('platform --yes')
    assert.equal(await text('docker ps -aq --filter name=macula-own'), '')
    assert.match(await text('getent hosts own.macula.local'), /^127\.0\.0\.2\s/)
    assert.doesNotMatch(await text(listeners), /127\.0\.0\.9/)
  })

  it('lets every service log in with new passwords after they change in .env', async () => {
    const { stdout } = await sandbox.exec(`cat "$MACULA_ENV_FILE"`)
    const changed = stdout.replace(
      /^((?:\w+_PASSWORD|PDNS_API_KEY)=).*/gm,
      (_, key) => `${key}changed-${Math.random().toString(36).slice(2)}`,
    )
    await sandbox.exec('cat > "$MACULA_ENV_FILE"', { input: changed })
    await succeeds('platform --yes')
    const { checks } = JSON.parse((await task('verify --json')).stdout)
    assert.deepEqual(
      checks.filter(({ ok }: { ok: boolean | null }) => ok === false),
      [],
    )
  })

  it('ends with an error at once, and the last words, when a container exits', async () => {
    const local = `services:\n  broken:\n    image: nginx:1.30.4-alpine\n    entrypoint: [sh, -c, 'echo my last words; exit 7']\n    restart: unless-stopped\n    x-macula: { group: tools }\n`
    await sandbox.exec('cat > "$MACULA_LOCAL_COMPOSE"', { input: local })
    const { exitCode, stderr } = await task('start-infrastructure')
    assert.equal(exitCode, 1)
    assert.match(stderr, /macula-broken ended (with exit code 7|and had to be started again)/)
    assert.match(stderr, /my last words/)
    await sandbox.exec('rm "$MACULA_LOCAL_COMPOSE"')
    await succeeds('start-infrastructure')
  })

  it('reports a broken description with file and line, and changes nothing', async () => {
    const untouched = await text(traces)
    await sandbox.exec('cat > "$MACULA_LOCAL_COMPOSE"', {
      input:
        'services:\n  x:\n    image: nginx:1.30.4-alpine\n    x-macula: { group: data, host: grafana, loopback: 10.0.0.1, colour: red }\n',
    })
    const { exitCode, stderr } = await task('platform --yes')
    await sandbox.exec('rm "$MACULA_LOCAL_COMPOSE"')
    assert.equal(exitCode, 2)
    assert.match(stderr, /docker-compose\.local\.yml:4: .*should be an address of 127\.0\.0\.0\/8/)
    assert.match(stderr, /colour is not a key/)
    assert.doesNotMatch(stderr, /\n\s+at /)
    assert.equal(await text(traces), untouched)
  })

  it('stops and keeps its data, and comes back with it', async () => {
    const row = (sql: string) => sandbox.exec(`docker exec macula-timescaledb psql -U postgres -d macula -tAc "${sql}"`)
    await row('create table kept (n int); insert into kept values (42)')
    await succeeds('stop-infrastructure')
    assert.equal(await text('docker ps -q'), '')
    assert.equal((await task('stop-infrastructure --volumes')).exitCode, 2, 'without a terminal it asks for --yes')
    await succeeds('start-infrastructure')
    assert.equal((await row('select n from kept')).stdout.trim(), '42')
  })

  it('names the image, and the ways to get it, when one cannot be pulled', async () => {
    await sandbox.exec('cat > "$MACULA_LOCAL_COMPOSE"', {
      input: 'services:\n  x:\n    image: example/does-not-exist:1.0\n    x-macula: { group: data }\n',
    })
    const { exitCode, stderr } = await task('start-infrastructure')
    await sandbox.exec('rm "$MACULA_LOCAL_COMPOSE"')
    assert.equal(exitCode, 1)
    assert.match(stderr, /could not be pulled: example\/does-not-exist:1\.0/)
    assert.match(stderr, /IMAGE_MIRROR/)
  })

  it('saves its images to a file, and loads them from it', async () => {
    const { exitCode, stderr } = await sandbox.exec(
      'node lib/cli/launch.mjs images save /run/images.tar && docker rmi -f joxit/docker-registry-ui:2.6.0 >/dev/null && node lib/cli/launch.mjs images load /run/images.tar && docker image inspect joxit/docker-registry-ui:2.6.0 >/dev/null; code=$?; rm -f /run/images.tar; exit $code',
      // without the images of a cluster of our own, which are not made here
      { env: { MACULA_ONLY: 'observability', CLUSTER: 'existing', CLUSTER_CONTEXT: 'elsewhere' } },
    )
    assert.equal(exitCode, 0, stderr)
  })

  it('is taken away without a trace', async () => {
    const { exitCode, stderr } = await task('teardown --yes --volumes')
    assert.equal(exitCode, 0, stderr)
    assert.equal(await text(etcSnapshot), etcBefore)
    assert.equal(
      await text(
        'docker ps -aq; docker volume ls -q --filter label=com.docker.compose.project=macula; docker network ls -q --filter name=macula',
      ),
      '',
    )
    assert.equal(await text(`pgrep -a 'socat|dnsmasq'; true`), '')
    assert.equal(await text('test -e "$MACULA_STATE_DIR" && echo there'), '')
  })
})
