import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type LoadedPlatform, startLoadedPlatform } from '../helpers/loaded-platform.ts'
import { noSandbox, type TestSandbox } from '../helpers/sandbox.ts'

/** Services with a real program in the sandbox. */
const services = ['timescaledb', 'minio', 'powerdns', 'powerdns-db', 'registry', 'prometheus', 'nginx', 'collector']
const suspendSeconds = Number(process.env.SUSPEND_SECONDS ?? 60)

describe('services that die while something writes to them', { skip: await noSandbox() }, () => {
  let loaded: LoadedPlatform
  let sandbox: TestSandbox
  before(async () => {
    loaded = await startLoadedPlatform()
    sandbox = loaded.sandbox
  })
  after(() => sandbox?.end())

  for (const service of services)
    it(`comes back by itself after kill -9 of ${service}, with every acknowledged write`, async () => {
      const pid = () => sandbox.exec(`docker inspect --format '{{.State.Pid}}' macula-${service}`)
      const killed = (await pid()).stdout.trim()
      await sandbox.exec(`kill -9 ${killed}`)
      const seconds = await loaded.green()
      const running = (await pid()).stdout.trim()
      assert.ok(running !== killed && running !== '0', `${service} was not started again`)
      await loaded.nothingLost(`kill -9 of ${service}`, seconds)
    })

  const running = async () => (await sandbox.exec('docker ps -q | wc -l')).stdout.trim()

  /** Ends the engine with a signal, and starts it again with the same words once it is gone. */
  async function engineAgain(signal: string): Promise<void> {
    const { exitCode, stderr } = await sandbox.exec(`engine=$(cat /run/docker.pid)
      mapfile -d '' -t words </proc/$engine/cmdline
      kill -${signal} $engine
      for try in $(seq 60); do kill -0 $engine 2>/dev/null || break; sleep 0.5; done
      kill -0 $engine 2>/dev/null && exit 1
      setsid "\${words[@]}" </dev/null >/run/macula/engine-again.log 2>&1 &`)
    assert.equal(exitCode, 0, stderr)
    const answers = await sandbox.exec(
      'for try in $(seq 60); do docker version >/dev/null 2>&1 && exit; sleep 1; done; exit 1',
    )
    assert.equal(answers.exitCode, 0, (await sandbox.exec('tail /run/macula/engine-again.log')).stdout)
  }

  it('comes back by itself after a restart of the engine, as an update of it does, with every acknowledged write', async () => {
    const before = await running()
    await engineAgain('TERM')
    const seconds = await loaded.green()
    assert.equal(await running(), before)
    await loaded.nothingLost('restart of the engine', seconds)
  })

  // an engine that finds containers of its predecessor running stops them, and takes them for stopped by hand from then on
  it('loses nothing with kill -9 of the engine; what the next engine leaves stopped, verify names, and one command starts', async () => {
    const before = await running()
    await engineAgain('KILL')
    if ((await running()) !== before) {
      assert.match((await loaded.red()).join('\n'), /is exited/)
      const { exitCode, stderr } = await sandbox.exec('node lib/cli/launch.mjs start-infrastructure --yes')
      assert.equal(exitCode, 0, stderr)
    }
    const seconds = await loaded.green()
    assert.equal(await running(), before)
    await loaded.nothingLost('kill -9 of the engine, then start-infrastructure', seconds)
  })

  it('goes on after everything stood still, as in a laptop that sleeps', async () => {
    const processes = `docker ps -q | xargs docker inspect --format '{{.State.Pid}}' | while read -r pid; do
      echo $pid; cat /proc/$pid/task/*/children 2>/dev/null | tr ' ' '\\n'; done | grep . | xargs kill`
    await sandbox.exec(`${processes} -STOP; sleep ${suspendSeconds}; ${processes} -CONT`)
    await loaded.nothingLost(`stood still for ${suspendSeconds} s`, await loaded.green())
  })

  /** How many times slower this machine is now than one where a task starts within a second; 1 where it is not. */
  async function slowness(): Promise<number> {
    const began = performance.now()
    await sandbox.exec('node lib/cli/launch.mjs status --help')
    return Math.max(1, (performance.now() - began) / 1000)
  }

  it('keeps everything over task stop and task start, in less than ten seconds', async () => {
    await loaded.stopWriting()
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
    await loaded.green()
    assert.equal(await counts(), before)
    await loaded.nothingLost('stop and start', seconds)
    // a machine with other things to do is slower at all of it
    const limit = 10 * (await slowness())
    assert.ok(seconds < limit, `stop and start took ${seconds} s`)
  })
})
