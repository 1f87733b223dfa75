import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { type LoadedPlatform, startLoadedPlatform } from '../helpers/loaded-platform.ts'
import { noSandbox, type TestSandbox } from '../helpers/sandbox.ts'

/** Services with a volume and a real program in the sandbox, and what cannot be written when its disk is full; the collector's queue is in memory first. */
const services: Record<string, string | undefined> = {
  timescaledb: 'row',
  minio: 'object',
  'powerdns-db': 'zone',
  registry: 'blob',
  prometheus: 'sample',
  collector: undefined,
}

describe('volumes whose disk becomes full while something writes to them', { skip: await noSandbox() }, () => {
  let loaded: LoadedPlatform
  let sandbox: TestSandbox
  before(async () => {
    loaded = await startLoadedPlatform()
    sandbox = loaded.sandbox
    for (const service of Object.keys(services)) await giveDiskOfItsOwn(service)
    await loaded.green()
  })
  after(() => sandbox?.end())

  async function run(script: string): Promise<string> {
    const { exitCode, stdout, stderr } = await sandbox.exec(`set -e; ${script}`)
    assert.equal(exitCode, 0, stderr)
    return stdout.trim()
  }

  const volumeOf = (service: string) =>
    run(
      `docker inspect --format '{{range .Mounts}}{{if eq .Type "volume"}}{{.Source}}{{end}}{{end}}' macula-${service}`,
    )

  /** Moves the volume of a service to a file system whose size can be changed. */
  async function giveDiskOfItsOwn(service: string): Promise<void> {
    const folder = await volumeOf(service)
    await run(`docker stop --time 20 macula-${service}
      cp -a ${folder} /run/macula/volume
      mount -t tmpfs -o size=1g none ${folder}
      cp -a /run/macula/volume/. ${folder}/
      rm -r /run/macula/volume
      docker start macula-${service}`)
  }

  async function fill(service: string): Promise<void> {
    const folder = await volumeOf(service)
    await run(`used=$(df --output=used -k ${folder} | tail -1)
      mount -o remount,size=$((used + 1024))k ${folder}
      dd if=/dev/zero of=${folder}/.filler bs=4k 2>/dev/null || true`)
  }

  async function makeRoom(service: string): Promise<void> {
    const folder = await volumeOf(service)
    await run(`mount -o remount,size=1g ${folder}; rm -f ${folder}/.filler`)
  }

  for (const [service, kind] of Object.entries(services))
    it(`that of ${service}: nothing acknowledged is lost, and all is well without a command once there is room`, async () => {
      await fill(service)
      const told = await untilTold(kind === undefined ? 20 : 120)
      assert.ok(told !== undefined || kind === undefined, 'task verify does not say so within two minutes')
      process.stderr.write(`the disk of ${service} is full: ${told ?? 'verify finds nothing wrong'}\n`)
      await makeRoom(service)
      const seconds = await loaded.green(180)
      const before = await loaded.acknowledged()
      await pause(5000)
      const after = await loaded.acknowledged()
      for (const [written, count] of Object.entries(after))
        assert.ok(count > Number(before[written]), `no ${written} is written any more`)
      await loaded.nothingLost(`the disk of ${service} was full`, seconds)
    })

  /** What `task verify` says of the full disk, once it does; undefined where it does not within that time. */
  async function untilTold(withinSeconds: number): Promise<string | undefined> {
    const began = performance.now()
    while (performance.now() - began < withinSeconds * 1000) {
      const red = await loaded.red()
      const told = red.find(text => /No space left on device|its log says that the disk is full/.test(text))
      if (told !== undefined) return told
      await pause(1000)
    }
  }
})
