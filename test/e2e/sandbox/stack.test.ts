import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { PlatformError } from '../../../lib/system/errors.ts'
import { NotYet, waitFor } from '../../../lib/system/wait.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

const reason = await noSandbox()

const localService = `services:
  talker:
    image: nginx:1.30.4-alpine
    entrypoint: [sh, -c, 'echo a line of the talker; exec sleep 3600']
    x-macula: { group: data, web: false }
  # Loki may be a placeholder here; what it would get goes to a receiver at the network's gateway, in the sandbox itself
  collector:
    extra_hosts: ['loki:172.23.0.1']
`

describe('the stack in a sandbox', { skip: reason }, () => {
  let sandbox: TestSandbox

  before(async () => {
    sandbox = await startSandbox({
      workflow: false,
      env: { MACULA_LOCAL_COMPOSE: '/run/macula/docker-compose.local.yml' },
    })
    await sandbox.exec('cat > /run/macula/docker-compose.local.yml', { input: localService })
    await start({ MACULA_LATER: 'minio,powerdns-db' })
  })
  after(() => sandbox?.end())

  async function start(env: Record<string, string> = {}): Promise<void> {
    const { exitCode, stderr } = await sandbox.exec(
      'for task in configure start-infrastructure setup-dnsmasq setup-observability-routing setup-data-routing; do node lib/cli/launch.mjs $task --yes || exit; done',
      { env: { CI: '1', ...env } },
    )
    assert.equal(exitCode, 0, stderr)
  }
  const running = async () => (await text("docker ps --format '{{.Names}} {{.ID}}' | sort")).split('\n')

  async function text(script: string): Promise<string> {
    return (await sandbox.exec(script)).stdout.trim()
  }

  /** The lines of a service that came to Loki's address, once one holds `part`. */
  function linesOf(service: string, part: string): Promise<string[]> {
    const look = async () => {
      const received = (await text('cat /run/macula/received.jsonl')).split('\n').filter(Boolean)
      const bodies = received.map(line => JSON.parse(line)).flatMap(line => (line.service === service ? line.body : []))
      return bodies.some(body => body.includes(part)) ? bodies : new NotYet(`${bodies.length} lines`)
    }
    // nobody listened there until now: the collector tries again after at most 30 s, give or take a half
    return waitFor(look, {
      timeoutMs: 60_000,
      pauseMs: 1000,
      onTimeout: seen => new PlatformError(`no line of ${service} with ${part}: ${seen}`),
    })
  }

  it('is of use before the last images are there, and takes in what comes without touching the rest', async () => {
    const early = await running()
    const names = early.map(line => line.split(' ')[0])
    assert.ok(names.includes('macula-grafana') && names.includes('macula-talker'), early.join())
    // what depends on one of them waits with it
    for (const name of ['minio', 'powerdns-db', 'powerdns-db-metrics', 'powerdns'])
      assert.ok(!names.includes(`macula-${name}`), name)
    await start()
    const all = await running()
    assert.equal(all.length, early.length + 4)
    assert.deepEqual(
      early.filter(line => !all.includes(line)),
      [],
    )
  })

  it("sends what containers print to Loki, a user's own service's too", async () => {
    await text(
      'setsid node test/helpers/otlp-receiver.mjs 172.23.0.1 3100 </dev/null >/run/macula/received.jsonl 2>&1 & sleep 1',
    )
    await linesOf('registry', 'debug server listening')
    assert.deepEqual(await linesOf('talker', 'talker'), ['a line of the talker'])
  })

  it('tells the portal how each service is', async () => {
    const states =
      await text(`for service in $(curl -s http://home.macula.local/ | grep -o 'data-probe="[^"]*' | cut -d'"' -f2); do
      echo $service $(curl -s -o /dev/null -w '%{http_code}' http://home.macula.local$service); done`)
    assert.match(states, /^\/health\/loki 200$/m)
    assert.match(states, /^\/health\/powerdns 200$/m)
    const others = states.split('\n').filter(line => !line.endsWith(' 200'))
    // there is no cluster here for the applications
    assert.deepEqual(
      others,
      ['console', 'bootstrap', 'peer1', 'peer2'].map(name => `/health/applications/${name} 502`),
    )
  })

  it('accepts new passwords only, once they are changed in the settings', async () => {
    const before = await text('cat "$MACULA_ENV_FILE"')
    const containers = await text("docker ps --format '{{.Names}} {{.ID}}' | sort")
    await sandbox.exec(
      `sed -i -E "s/^((GRAFANA|MINIO_ROOT|POSTGRES|PDNS_DB)_PASSWORD|PDNS_API_KEY)=.*/\\1=changed-x'y#z-\\1/" "$MACULA_ENV_FILE"
      sed -i -E "s/^([A-Z_]+)=(changed.*)$/\\1=\\"\\2\\"/" "$MACULA_ENV_FILE"`,
    )
    assert.notEqual(await text('cat "$MACULA_ENV_FILE"'), before)
    await start()

    // by its address: connections from 127.0.0.1 inside the container need no password
    const psql = `docker exec -e PGPASSWORD macula-timescaledb psql -h 172.23.0.31 -U postgres -d macula -Atc 'SELECT 1'`
    assert.equal(await text(`PGPASSWORD="changed-x'y#z-POSTGRES_PASSWORD" ${psql}`), '1')
    assert.notEqual((await sandbox.exec(`PGPASSWORD='${settingOf(before, 'POSTGRES_PASSWORD')}' ${psql}`)).exitCode, 0)
    const zones = (key: string) =>
      text(
        `curl -s -o /dev/null -w '%{http_code}' -H "X-API-Key: ${key}" http://dns.macula.local/api/v1/servers/localhost/zones`,
      )
    assert.equal(await zones("changed-x'y#z-PDNS_API_KEY"), '200')
    assert.equal(await zones(settingOf(before, 'PDNS_API_KEY')), '401')
    const buckets = (secret: string) =>
      text(
        `curl -s -o /dev/null -w '%{http_code}' -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:us-east-1:s3 --user "macula:${secret}" http://s3.macula.local/`,
      )
    assert.equal(await buckets("changed-x'y#z-MINIO_ROOT_PASSWORD"), '200')
    assert.equal(await buckets(settingOf(before, 'MINIO_ROOT_PASSWORD')), '403')

    const untouched = (await text("docker ps --format '{{.Names}} {{.ID}}' | sort"))
      .split('\n')
      .filter(line => containers.includes(line))
    assert.deepEqual(
      untouched.map(line => line.split(' ')[0]),
      [
        ...['collector', 'dnsmasq-metrics', 'loki', 'machine-metrics', 'nginx', 'powerdns-db-metrics', 'prometheus'],
        ...['registry', 'registry-ui', 'talker', 'tempo', 'timescaledb-metrics'],
      ].map(name => `macula-${name}`),
    )
  })
})

function settingOf(env: string, name: string): string {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(env)?.[1]?.replace(/^(['"])(.*)\1$/, '$2') ?? ''
}
