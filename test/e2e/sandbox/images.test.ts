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
import { nameFromFile } from '../../../lib/stack/image-store.ts'
import { type ImageArchive, readImageArchives } from '../../../lib/supply/image-archive.ts'
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
    assert.deepEqual(first, { present: 0, fromFiles: 0, pulled: 1, standIns: 0, lacking: [] })
    assert.deepEqual(await supplied(['published:1']), { present: 1, fromFiles: 0, pulled: 0, standIns: 0, lacking: [] })
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

  it('does not wait for an image whose program has to be compiled first', async t => {
    const [nginx, tempo] = ['nginx:1.30.4-alpine', 'grafana/tempo:3.0.3'] as const
    await supply([nginx], cacheDir, [nginx])
    // also under the name that it was built as, in this run or an earlier one
    await inside({
      nothrow: true,
    })`docker image rm --force $(docker images -q --filter reference=${tempo} --filter reference=macula-standin/tempo)`
    // a cache in which all but one program are built
    const emptier = join(folder, 'cache')
    await mkdir(join(emptier, 'built'), { recursive: true })
    for (const name of await readdir(join(cacheDir, 'built')))
      if (!name.startsWith('placeholder-')) await symlink(join(cacheDir, 'built', name), join(emptier, 'built', name))
    // a compiler that begins when it is told to: with Go's caches filled this program would be there within a second
    const compiler = join(folder, 'compiler')
    await mkdir(compiler)
    const begin = join(folder, 'begin')
    const wait = `#!/bin/sh\nfor i in $(seq 600); do [ -e ${begin} ] && break; sleep 0.1; done\nPATH=\${PATH#*:} exec go "$@"\n`
    await writeFile(join(compiler, 'go'), wait, { mode: 0o755 })
    const path = process.env.PATH ?? ''
    process.env.PATH = `${compiler}:${path}`
    t.after(() => {
      process.env.PATH = path
    })
    const { later } = await supply([nginx, tempo], emptier)
    assert.deepEqual(later.names(), [tempo])
    await inside`docker image inspect ${nginx}`
    await writeFile(begin, '')
    await later.next()
    assert.deepEqual(later.names(), [])
    await inside`docker image inspect ${tempo}`
  })

  function supply(images: readonly string[], from = cacheDir, first: readonly string[] = []) {
    const progress = { update: () => {}, line: () => {} }
    const path = process.env.PATH ?? ''
    return supplyImages(namespace, engine, {
      images,
      first,
      mirror,
      path,
      login: '/nowhere',
      supply: { cacheDir: from },
      progress,
      warn: text => process.stderr.write(`${text}\n`),
    })
  }
})

describe('images of a sandbox from files', { skip: await noSandbox() }, () => {
  const [nginx, tempo] = ['nginx:1.30.4-alpine', 'grafana/tempo:3.0.3'] as const
  /** What a cluster is made of is pinned by digest: one that its archive proves, one that it lacks. */
  let node: string
  const ingress = `ingress.test/controller:1@sha256:${'1'.repeat(64)}`
  let folder: string
  let namespace: Namespace
  let engine: EngineOptions
  let inside: Shell
  let archives: ImageArchive[]
  const lines: string[] = []

  before(async () => {
    // the store's own folder is the machine's inside, too
    folder = join(store.folder, 'archives')
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { recursive: true })
    const programs = await enginePrograms({ cacheDir })
    namespace = await startNamespace(store, [store.folder])
    engine = { store, programs, environment: engineEnvironment(programs, process.env.PATH ?? '') }
    await startEngine(namespace, engine)
    inside = shellInside(namespace.init, engine)
    // one as a compressed archive with an image that no service has, one as an OCI layout
    for (const image of [nginx, tempo, 'somebody/else:1', 'kind/pinned:1', 'ingress.test/controller:1'])
      await inside`tar -C / -c etc/hostname | docker import --message ${image} - ${image}`
    await inside`docker save ${nginx} somebody/else:1 | gzip >${folder}/nginx.tar.gz`
    await inside`mkdir ${folder}/tempo`
    await inside`docker save ${tempo} | tar -x -C ${folder}/tempo`
    await inside`rm ${folder}/tempo/manifest.json`
    await inside`docker save kind/pinned:1 ingress.test/controller:1 >${folder}/cluster.tar`
    await removeImages()
    archives = await readImageArchives(['nginx.tar.gz', 'tempo', 'cluster.tar'].map(file => join(folder, file)))
    // `docker save` writes several images in any order
    const [digest] = archives[2]?.images.find(({ name }) => name === 'kind/pinned:1')?.digests ?? []
    assert.match(digest ?? '', /^sha256:/)
    node = `kind/pinned:1@${digest}`
  })
  after(async () => {
    await removeImages()
    await namespace.end()
    await rm(folder, { recursive: true, force: true })
  })

  const removeImages = async () => {
    const references = ['somebody/else', 'kind/pinned', 'ingress.test/controller'].flatMap(name => [
      '--filter',
      `reference=${name}`,
    ])
    const names = await inside`docker image ls --format ${'{{.Repository}}:{{.Tag}}'} ${references}`.lines()
    await inside({ nothrow: true })`docker image rm ${nginx} ${tempo} ${names}`
  }

  const supply = async () => {
    const { later: _, ...counts } = await supplyImages(namespace, engine, {
      images: [nginx, tempo],
      onlyPulled: [node, ingress],
      archives,
      // nobody answers there
      mirror: '127.0.0.1:9',
      path: process.env.PATH ?? '',
      login: '/nowhere',
      supply: { cacheDir },
      progress: { update: () => {}, line: text => void lines.push(text) },
      warn: text => process.stderr.write(`${text}\n`),
    })
    return counts
  }

  it('are used before anything is pulled or built, count as real, and are loaded once', async () => {
    assert.deepEqual(await supply(), { present: 0, fromFiles: 4, pulled: 0, standIns: 0, lacking: [] })
    const format = '{{json .Config.Labels}}'
    const labels = await inside`docker image inspect --format ${format} ${nginx} ${tempo}`.lines()
    assert.deepEqual(labels, ['null', 'null'])
    assert.deepEqual(await supply(), { present: 4, fromFiles: 0, pulled: 0, standIns: 0, lacking: [] })
  })

  it('are found by the digest that they are pinned by, which this engine forgets when it loads', async () => {
    assert.notEqual((await inside({ nothrow: true })`docker image inspect ${node}`).exitCode, 0)
    for (const image of [node, ingress]) await inside`docker image inspect ${nameFromFile(image)}`
    const pinned = lines.filter(line => line.includes('cluster.tar')).sort((one, other) => other.localeCompare(one))
    assert.match(pinned[0] ?? '', /^kind\/pinned:1: from cluster\.tar, verified by digest sha256:[0-9a-f]{12}$/)
    const unproven =
      /^ingress\.test\/controller:1: from cluster\.tar, verified by image id sha256:[0-9a-f]{12}, as the file lacks sha256:1{12}$/
    assert.match(pinned[1] ?? '', unproven)
  })

  it('are said, with what verified them, and what else was in the file is kept', async () => {
    assert.match(
      lines[0] ?? '',
      /^nginx:1\.30\.4-alpine: from nginx\.tar\.gz, verified by image id sha256:[0-9a-f]{12}$/,
    )
    assert.match(lines[1] ?? '', /^grafana\/tempo:3\.0\.3: from tempo, verified by image id sha256:[0-9a-f]{12}$/)
    assert.equal(lines.at(-1), 'somebody/else:1: from nginx.tar.gz, kept; no service uses it')
    await inside`docker image inspect somebody/else:1`
  })
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
