import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { CheckResult } from '../../../lib/verify/check.ts'
import { renderExample } from '../../helpers/example.ts'
import { queriesIn } from '../../helpers/queries.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

interface StatusRow {
  name: string
  group: string
  url: string
  address: string
  state: string
  since: string
  standin: 'real' | 'other' | 'placeholder' | null
  standinName: string | null
}

const skip = await noSandbox()
const targetsFile = '/run/macula/state/config/prometheus/targets/services.json'

describe('looking at the platform from outside', { skip }, () => {
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await startSandbox()
  })
  after(() => sandbox?.end())

  const verify = async (variables = '') => {
    const { stdout, exitCode } = await sandbox.exec(`${variables} node lib/cli/launch.mjs verify --json`)
    const { checks } = JSON.parse(stdout) as { checks: CheckResult[] }
    return { checks, exitCode }
  }
  const status = async () => {
    const { stdout, exitCode } = await sandbox.exec('node lib/cli/launch.mjs status --json')
    assert.equal(exitCode, 0)
    return (JSON.parse(stdout) as { services: StatusRow[] }).services
  }
  const red = (checks: readonly CheckResult[]) => checks.filter(({ ok }) => ok === false)
  const told = (checks: readonly CheckResult[]) =>
    red(checks)
      .map(({ name, detail }) => `${name}: ${detail}`)
      .join('\n')
  /** Verifies until nothing is red and nothing real is in doubt: Prometheus looks at a new target within ten seconds. */
  const settled = async () => {
    const mayBeInDoubt = await doubtful()
    for (let attempt = 0; attempt < 12; attempt += 1) {
      const seen = await verify()
      if (seen.checks.every(({ ok, ...check }) => ok === true || (ok === null && mayBeInDoubt(check)))) return seen
      await pause(2000)
    }
    return verify()
  }
  const namesOf = async (kind: StatusRow['standin']) =>
    new Set((await status()).filter(({ standin }) => standin === kind).map(({ name }) => name))
  /** What cannot be verified: anything of a placeholder, and the metrics of another program. */
  const doubtful = async () => {
    const [placeholders, others] = [await namesOf('placeholder'), await namesOf('other')]
    return ({ name, service }: Pick<CheckResult, 'name' | 'service'>) =>
      placeholders.has(service) || (others.has(service) && name === `metrics of ${service}`)
  }

  it('verifies everything that has a real daemon, and never a placeholder', async () => {
    const isDoubtful = await doubtful()
    const { checks, exitCode } = await settled()
    assert.equal(told(checks), '')
    assert.equal(exitCode, 0)
    for (const { ok, ...check } of checks) assert.equal(ok, isDoubtful(check) ? null : true, check.name)

    const named = checks.map(({ name }) => name)
    for (const expected of [
      'grafana.macula.local',
      '*.macula.local',
      'http://loki.macula.local',
      'http://prometheus.macula.local:9090',
      'a log line, pushed and queried',
      'a row in a hypertable, written and read',
      'an object, put and read back',
      'an image, pushed to localhost:5001 and pulled',
      'a zone, made at dns.macula.local and asked for at 127.0.0.1:5300',
      'metrics of minio',
    ])
      assert.ok(named.includes(expected), `${expected} is not among ${named.join(', ')}`)
  })

  it('is done within five seconds', async () => {
    // the best of three: other tests may be busy on this machine
    const times: number[] = []
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const started = performance.now()
      await verify()
      times.push((performance.now() - started) / 1000)
    }
    assert.ok(Math.min(...times) < 5, `took ${times.map(seconds => seconds.toFixed(1)).join(', ')} s`)
  })

  it('leaves nothing of what it sent in the stores', async () => {
    await verify()
    const look = async (script: string) => {
      const { stdout, stderr, exitCode } = await sandbox.exec(`set -a; . "$MACULA_ENV_FILE"; set +a; ${script}`)
      assert.equal(exitCode, 0, stderr)
      return stdout.trim()
    }
    const tables = `SELECT count(*) FROM pg_tables WHERE tablename LIKE 'verify%'`
    assert.equal(
      await look(`docker exec macula-timescaledb psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -Atc "${tables}"`),
      '0',
    )
    const zones = await look(
      'curl -sf --config - http://dns.macula.local/api/v1/servers/localhost/zones <<< "header = \\"X-API-Key: $PDNS_API_KEY\\""',
    )
    assert.doesNotMatch(zones, /verify-/)
    assert.match(await look('curl -s http://localhost:5001/v2/macula/verify/tags/list'), /"tags":(null|\[\])/)
    assert.equal(await look('docker exec macula-minio sh -c "ls /data | grep -c ^verify- || true"'), '0')
  })

  it('shows every service with its state and what stands in for it', async () => {
    const services = await status()
    const byName = new Map(services.map(service => [service.name, service]))
    for (const { name, state } of services) assert.match(state, /^(healthy|running)$/, name)
    assert.equal(byName.get('loki')?.url, 'http://loki.macula.local')
    assert.equal(byName.get('loki')?.address, '127.0.0.5:3100')
    assert.equal(byName.get('timescaledb')?.url, 'postgres://postgres.macula.local:5432')
    assert.ok(Date.now() - new Date(byName.get('loki')?.since ?? '').getTime() < 3_600_000)
    const { stdout } = await sandbox.exec('node lib/cli/launch.mjs status')
    for (const { name, standin } of services) {
      const line = stdout.split('\n').find(line => line.includes(` ${name} `)) ?? ''
      assert.notEqual(line, '', name)
      assert.equal(/placeholder/.test(line), standin === 'placeholder', line)
      assert.equal(/another S3 server/.test(line), standin === 'other', line)
    }
  })

  it('has no alert for a placeholder, which tells Prometheus what it is', async () => {
    const scraped = JSON.parse(await readFile(sandbox.path(targetsFile), 'utf8')) as { labels: { job: string } }[]
    const jobs = scraped.map(({ labels }) => labels.job)
    const placeholders = [...(await namesOf('placeholder'))].filter(name => jobs.includes(name))
    const jobsOf = async (query: string) => {
      const url = 'http://prometheus.macula.local/api/v1/query'
      const { stdout } = await sandbox.exec(`curl -fsSG ${url} --data-urlencode 'query=${query}'`)
      const { data } = JSON.parse(stdout) as { data: { result: { metric: { job: string } }[] } }
      return data.result.map(({ metric }) => metric.job).sort()
    }
    await settled()
    assert.deepEqual(await jobsOf('macula_placeholder'), placeholders.sort())
    // pending ones, too
    assert.deepEqual(await jobsOf('ALERTS{alertname="ServiceDown"}'), [])
  })

  describe('a service that is stopped', () => {
    for (const service of [
      'loki',
      'minio',
      'timescaledb',
      'prometheus',
      'registry',
      'powerdns',
      'powerdns-db',
      'nginx',
    ]) {
      it(`turns the rows of ${service} red, and no others`, async test => {
        if ((await namesOf('placeholder')).has(service)) return test.skip('a placeholder runs here')
        await sandbox.ask(['docker', 'stop', '--time', '2', `macula-${service}`])
        try {
          const { checks, exitCode } = await verify()
          const rows = checks.filter(check => check.service === service)
          assert.equal(exitCode, 1)
          assert.ok(rows.length > 0)
          for (const row of rows) assert.equal(row.ok, false, row.name)
          assert.deepEqual([...new Set(red(checks).map(({ service }) => service))], [service], told(checks))
          assert.match(rows[0]?.detail ?? '', new RegExp(`macula-${service} is exited`))
          assert.equal((await status()).find(({ name }) => name === service)?.state, 'exited')
        } finally {
          await sandbox.ask(['docker', 'start', `macula-${service}`])
        }
        assert.equal(told((await settled()).checks), '')
      })
    }
  })

  describe('a wrong password', () => {
    const cases = {
      POSTGRES_PASSWORD: 'a row in a hypertable, written and read',
      MINIO_ROOT_PASSWORD: 'an object, put and read back',
      PDNS_API_KEY: 'a zone, made at dns.macula.local and asked for at 127.0.0.1:5300',
    }
    for (const [setting, check] of Object.entries(cases)) {
      it(`in ${setting} turns '${check}' red, and nothing else`, async () => {
        const { checks, exitCode } = await verify(`${setting}=not-the-right-one`)
        assert.equal(exitCode, 1)
        assert.deepEqual(
          red(checks).map(({ name }) => name),
          [check],
        )
      })
    }
  })

  it('turns the rows of a service red whose configuration is broken', async () => {
    const file = sandbox.path(`${sandbox.env.MACULA_STATE_DIR}/config/prometheus/prometheus.yml`)
    const before = await readFile(file, 'utf8')
    await writeFile(file, `${before}\nno_such_key: true\n`)
    try {
      await sandbox.ask(['docker', 'restart', '--time', '2', 'macula-prometheus'])
      const { checks } = await verify()
      assert.deepEqual([...new Set(red(checks).map(({ service }) => service))], ['prometheus'], told(checks))
      assert.equal(red(checks)[0]?.hint, 'task logs -- prometheus')
      const { stdout, stderr } = await sandbox.exec('node lib/cli/launch.mjs logs prometheus --tail 20')
      assert.match(stdout + stderr, /no_such_key/)
    } finally {
      await writeFile(file, before)
      await sandbox.ask(['docker', 'restart', '--time', '2', 'macula-prometheus'])
    }
    assert.equal(told((await settled()).checks), '')
  })

  it('has a Prometheus that takes every query of the dashboards', async () => {
    const promql = queriesIn(await renderExample()).filter(({ language }) => language === 'promql')
    for (const { text, where } of promql) {
      const ask = `curl -sG --data-urlencode "query=$0" http://prometheus.macula.local/api/v1/query`
      const { stdout } = await sandbox.ask(['bash', '-c', ask, text])
      assert.equal(JSON.parse(stdout).status, 'success', `${where}: ${stdout}`)
    }
  })

  it('says that Docker is not running, and prints nothing on stdout', async () => {
    for (const task of ['status --json', 'verify --json']) {
      const { stdout, stderr, exitCode } = await sandbox.exec(
        `DOCKER_HOST=unix:///run/nowhere.sock node lib/cli/launch.mjs ${task}`,
      )
      assert.equal(exitCode, 1)
      assert.equal(stdout, '')
      assert.match(stderr, /Docker is not running/)
    }
  })

  it('refuses logs of a service that nobody knows, and names those that there are', async () => {
    const { stderr, exitCode } = await sandbox.exec('node lib/cli/launch.mjs logs grafanna')
    assert.equal(exitCode, 2)
    assert.match(stderr, /grafanna: is neither a service nor an application; known: nginx, registry/)
  })

  it('says of each name that it does not resolve where nobody answers for them', async () => {
    const script = [
      'mount --make-rprivate /',
      'echo "nameserver 127.0.0.99" > /tmp/resolv.conf',
      'mount --bind /tmp/resolv.conf /etc/resolv.conf',
      'node lib/cli/launch.mjs verify --json',
    ].join(' && ')
    const { stdout } = await sandbox.ask(['unshare', '--mount', 'bash', '-c', script])
    const { checks } = JSON.parse(stdout) as { checks: CheckResult[] }
    assert.deepEqual([...new Set(red(checks).map(({ service }) => service))], ['dnsmasq'], told(checks))
    assert.equal(red(checks)[0]?.hint, 'task setup-dnsmasq')
  })
})
