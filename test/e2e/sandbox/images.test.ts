import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { pathsOf } from '../../../lib/platform/settings.ts'
import {
  type EngineOptions,
  engineEnvironment,
  enginePrograms,
  startEngine,
  withMachineNetwork,
} from '../../../lib/sandbox/engine.ts'
import { supplyImages } from '../../../lib/sandbox/engine-images.ts'
import { type Namespace, shellInside, startNamespace } from '../../../lib/sandbox/namespace.ts'
import { ensureProgram } from '../../../lib/sandbox/programs.ts'
import { storeOf } from '../../../lib/sandbox/store.ts'
import { $, type Shell } from '../../../lib/system/exec.ts'
import { noSandbox } from '../../helpers/sandbox.ts'

const { cacheDir } = pathsOf()
const store = storeOf(cacheDir, 'bare-tests')

describe('images of a sandbox where a registry answers', { skip: await noSandbox() }, () => {
  let folder: string
  let registry: ChildProcess
  let mirror: string
  let namespace: Namespace
  let engine: EngineOptions
  let inside: Shell

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-registry-'))
    const port = await freePort()
    mirror = `127.0.0.1:${port}/hub`
    const config = `version: 0.1\nstorage: {filesystem: {rootdirectory: ${folder}/data}}\nhttp: {addr: 127.0.0.1:${port}}\n`
    await writeFile(join(folder, 'config.yml'), config)
    const program = join(await ensureProgram('registry', { cacheDir }), 'registry')
    registry = spawn(program, ['serve', join(folder, 'config.yml')], {
      stdio: 'ignore',
      env: { OTEL_TRACES_EXPORTER: 'none' },
    })
    await untilListening(port)
    const programs = await enginePrograms({ cacheDir })
    namespace = await startNamespace(store, [store.folder])
    engine = { store, programs, environment: engineEnvironment(programs, process.env.PATH ?? '') }
    await startEngine(namespace, engine)
    inside = shellInside(namespace.init, engine)
    // an image of nothing but a file, published under the mirror's name for it
    await inside`tar -C / -c etc/hostname | docker import - ${mirror}/library/published:1`
    await withMachineNetwork(
      namespace,
      engine,
      async () => void (await inside`docker push ${mirror}/library/published:1`),
    )
    await inside`docker image rm ${mirror}/library/published:1`
  })
  after(async () => {
    await inside({ nothrow: true })`docker image rm published:1`
    await namespace.end()
    registry.kill()
    await rm(folder, { recursive: true, force: true })
  })

  it("pulls what is missing with the machine's network, once, and changes none of the machine's links and rules", async () => {
    const machine = async () => [
      (await $`ip -brief link`).stdout,
      (await $({ nothrow: true })`iptables -S`.catch(() => ({ stdout: '' }))).stdout,
      (await $`sysctl net.ipv4.ip_forward`).stdout,
    ]
    const before = await machine()
    const supplied = async (images: string[]) => (({ later: _, ...counts }) => counts)(await supply(images))
    const first = await supplied(['published:1'])
    assert.deepEqual(first, { present: 0, pulled: 1, standIns: 0, lacking: [] })
    assert.deepEqual(await supplied(['published:1']), { present: 1, pulled: 0, standIns: 0, lacking: [] })
    assert.deepEqual(await machine(), before)
  })

  it('leaves the engine without a way out afterwards', async () => {
    await inside`docker image inspect published:1`
    const pulled = await inside({ nothrow: true })`docker pull ${mirror}/library/published:1`
    assert.match(pulled.stderr, /connection refused|network is unreachable/)
  })

  it('says which image neither a registry nor a recipe has', async () => {
    await assert.rejects(supply(['nowhere/to-be-found:1']), /There is no stand-in for the image nowhere\/to-be-found/)
  })

  it('does not wait for an image whose program has to be compiled first', async () => {
    const [nginx, tempo] = ['nginx:1.30.4-alpine', 'grafana/tempo:3.0.3'] as const
    await supply([nginx])
    await inside({ nothrow: true })`docker image rm --force $(docker images -q grafana/tempo)`
    // a cache in which all but one program are built
    const emptier = join(folder, 'cache')
    await mkdir(join(emptier, 'built'), { recursive: true })
    for (const name of await readdir(join(cacheDir, 'built')))
      if (!name.startsWith('placeholder-')) await symlink(join(cacheDir, 'built', name), join(emptier, 'built', name))
    const { later } = await supply([nginx, tempo], emptier)
    assert.deepEqual(later.names(), [tempo])
    await inside`docker image inspect ${nginx}`
    await later.next()
    assert.deepEqual(later.names(), [])
    await inside`docker image inspect ${tempo}`
  })

  function supply(images: readonly string[], from = cacheDir) {
    const progress = { update: () => {}, line: () => {} }
    const path = process.env.PATH ?? ''
    return supplyImages(namespace, engine, {
      images,
      mirror,
      path,
      login: '/nowhere',
      supply: { cacheDir: from },
      progress,
      warn: text => process.stderr.write(`${text}\n`),
    })
  }
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

async function untilListening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const answer = await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => undefined)
    if (answer?.ok) return
    await pause(100)
  }
  assert.fail(`the registry does not listen on 127.0.0.1:${port} after 10 s`)
}
