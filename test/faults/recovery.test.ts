import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { CheckResult } from '../../lib/verify/check.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../helpers/sandbox.ts'

/** Services with a real program in the sandbox. */
const services = ['timescaledb', 'minio', 'powerdns', 'powerdns-db', 'registry', 'prometheus', 'nginx', 'collector']
const suspendSeconds = Number(process.env.SUSPEND_SECONDS ?? 20)
const acknowledgedFile = '/run/macula/acknowledged.jsonl'

describe('services that die while something writes to them', { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  before(async () => {
    sandbox = await startSandbox()
    await green()
    await sandbox.exec(
      `setsid node test/helpers/store-writer.mjs write </dev/null >${acknowledgedFile} 2>/run/macula/writer.log & echo $! > /run/macula/writer.pid`,
    )
    await pause(5000)
  })
  after(() => sandbox?.end())

  /** Seconds until `task verify` has nothing red, without any command in between. */
  async function green(): Promise<number> {
    const began = Date.now()
    let red: string[] = []
    while (Date.now() - began < 120_000) {
      const { stdout } = await sandbox.exec('node lib/cli/launch.mjs verify --json')
      const { checks } = JSON.parse(stdout || '{"checks":[]}') as { checks: CheckResult[] }
      red = checks.filter(({ ok }) => ok === false).map(({ name, detail }) => `${name}: ${detail}`)
      if (checks.length > 0 && red.length === 0) return (Date.now() - began) / 1000
      await pause(500)
    }
    throw new Error(`not green after 120 s\n${red.join('\n')}`)
  }

  /** Asserts that everything that was acknowledged so far is there. */
  async function nothingLost(fault: string, seconds: number): Promise<void> {
    const { stdout, stderr } = await sandbox.exec(`node test/helpers/store-writer.mjs check < ${acknowledgedFile}`)
    const kinds = Object.entries(JSON.parse(stdout || '{}') as Record<string, { acknowledged: number; lost: number }>)
    assert.equal(kinds.length, 3, stderr)
    const lost = kinds.reduce((sum, [, kind]) => sum + kind.lost, 0)
    const acknowledged = kinds.reduce((sum, [, kind]) => sum + kind.acknowledged, 0)
    countFaults('acknowledged writes lost to a fault', acknowledged, lost)
    process.stderr.write(`${fault}: green after ${seconds.toFixed(1)} s, ${acknowledged} writes, ${lost} lost\n`)
    assert.equal(lost, 0, stdout)
    for (const [kind, counts] of kinds) assert.ok(counts.acknowledged > 0, `no ${kind} was written`)
  }

  for (const service of services)
    it(`comes back by itself after kill -9 of ${service}, with every acknowledged write`, async () => {
      const pid = () => sandbox.exec(`docker inspect --format '{{.State.Pid}}' macula-${service}`)
      const killed = (await pid()).stdout.trim()
      await sandbox.exec(`kill -9 ${killed}`)
      const seconds = await green()
      const running = (await pid()).stdout.trim()
      assert.ok(running !== killed && running !== '0', `${service} was not started again`)
      await nothingLost(`kill -9 of ${service}`, seconds)
    })

  it('goes on after everything stood still, as in a laptop that sleeps', async () => {
    const processes = `docker ps -q | xargs docker inspect --format '{{.State.Pid}}' | while read -r pid; do
      echo $pid; cat /proc/$pid/task/*/children 2>/dev/null | tr ' ' '\\n'; done | grep . | xargs kill`
    await sandbox.exec(`${processes} -STOP; sleep ${suspendSeconds}; ${processes} -CONT`)
    await nothingLost(`stood still for ${suspendSeconds} s`, await green())
  })

  it('keeps everything over task stop and task start, in less than ten seconds', async () => {
    await sandbox.exec('kill -- -$(cat /run/macula/writer.pid) $(cat /run/macula/writer.pid)')
    const counts = async () =>
      (
        await sandbox.exec(`docker exec macula-timescaledb psql -U postgres -d macula -Atc 'SELECT count(*) FROM recovery'
        curl -s 'http://prometheus.macula.local/api/v1/query?query=count(count_over_time(up[10m]))' | jq -r '.data.result[0].value[1]'`)
      ).stdout.trim()
    const before = await counts()
    const began = Date.now()
    for (const task of ['stop-infrastructure', 'start-infrastructure']) {
      const { exitCode, stderr } = await sandbox.exec(`node lib/cli/launch.mjs ${task} --yes`)
      assert.equal(exitCode, 0, stderr)
    }
    const seconds = (Date.now() - began) / 1000
    await green()
    assert.equal(await counts(), before)
    await nothingLost('stop and start', seconds)
    assert.ok(seconds < 10, `stop and start took ${seconds} s`)
  })
})
