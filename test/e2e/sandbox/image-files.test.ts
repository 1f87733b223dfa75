import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { programRecipe } from '../../../lib/sandbox/recipes.ts'
import { readImageArchives } from '../../../lib/supply/image-archive.ts'
import { root } from '../../../lib/system/checkout.ts'
import { $ } from '../../../lib/system/exec.ts'
import { lockSandboxTests, noSandbox, startSandbox, type TestSandbox, testStoreName } from '../../helpers/sandbox.ts'

const versionOf = async (name: string) => {
  const recipe = await programRecipe(name)
  return 'version' in recipe ? recipe.version : ''
}
const service = 'postgres:17.11-alpine'
const [node, ingress] = [`kindest/node:${await versionOf('kubernetes')}`, `traefik:${await versionOf('traefik')}`]

describe('the task sandbox with images from files', { skip: await noSandbox() }, () => {
  let folder: string
  let release: () => void
  /** The names under which the cluster's images are pinned. */
  let pins: string[]

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-image-files-'))
    const sandbox = await startSandbox({ cluster: true, workflow: false })
    try {
      // under the name that the compose file has, for a moment
      const standIn = await shell(sandbox, `docker image inspect --format '{{.Id}}' ${service}`)
      await makeReal(sandbox, service, service)
      await shell(sandbox, `docker tag ${service} somebody/else:1`)
      await shell(sandbox, `docker save ${service} somebody/else:1 | gzip >${folder}/service.tar.gz`)
      await shell(sandbox, `docker tag ${standIn.trim()} ${service}`)
      const cluster = [node, ingress].map(image => `real/${image}`)
      await makeReal(sandbox, node, cluster[0]!)
      await makeReal(sandbox, ingress, cluster[1]!)
      await shell(sandbox, `docker save ${cluster.join(' ')} >${folder}/cluster.tar`)
      await shell(sandbox, `docker image rm somebody/else:1 ${cluster.join(' ')}`)
    } finally {
      await sandbox.end()
    }
    release = await lockSandboxTests()
    const [archive] = await readImageArchives([join(folder, 'cluster.tar')])
    pins = (archive?.images ?? []).map(({ name, digests }) => `${name}@${digests[0]}`).sort()
  })
  after(async () => {
    release?.()
    await rm(folder, { recursive: true, force: true })
  })

  it('uses those of services and cluster as real, the pinned ones by the digest that their file proves', async () => {
    const [nodePin = '', ingressPin = ''] = pins
    assert.match(nodePin, /^real\/kindest\/node:v[\d.]+@sha256:[0-9a-f]{64}$/)
    const env = { KIND_NODE_IMAGE: nodePin, INGRESS_CONTROLLER: 'traefik', INGRESS_IMAGE: ingressPin }
    const script = `docker ps --format '{{.Names}} {{.Image}} {{.Label "macula.standin"}}.' >${folder}/containers
      kubectl --kubeconfig "$MACULA_STATE_DIR/kubeconfig" -n ingress get pods -o jsonpath='{.items[0].spec.containers[0].image}{"\\n"}'
      curl -s -o /dev/null -w '%{http_code}\\n' http://console.macula.local
      docker image inspect --format kept somebody/else:1
      docker image rm --force $(docker image ls --format '{{.Repository}}:{{.Tag}}' --filter reference='real/*' --filter reference='real/*/*') ${service} somebody/else:1 >${folder}/removed`
    const files = ['service.tar.gz', 'cluster.tar'].map(file => join(folder, file))
    const words = ['sandbox', '--name', testStoreName, '--exec', script, '--images', ...files]
    const options = { cwd: root, timeout: '20m', nothrow: true, env } as const
    const { exitCode, stdout, stderr } = await $(options)`node lib/cli/launch.mjs ${words}`
    assert.equal(exitCode, 0, stderr)
    assert.equal(stdout, `${ingressPin}\n200\nkept\n`)
    const containers = await readFile(join(folder, 'containers'), 'utf8')
    assert.match(containers, new RegExp(`^macula-powerdns-db ${service} \\.$`, 'm'))
    assert.match(
      containers,
      new RegExp(`^macula-control-plane real/kindest/node:sha256-${nodePin.slice(-64)} \\.$`, 'm'),
    )
    for (const name of [nodePin, ingressPin].map(pin => pin.replace(/@.*/, '')))
      assert.match(stderr, new RegExp(`^ {4}${name}: from cluster\\.tar, verified by digest sha256:[0-9a-f]{12}$`, 'm'))
    assert.match(
      stderr,
      new RegExp(`^ {4}${service}: from service\\.tar\\.gz, verified by image id sha256:[0-9a-f]{12}$`, 'm'),
    )
    assert.match(stderr, /^ {4}somebody\/else:1: from service\.tar\.gz, kept; no service uses it$/m)
  })
})

describe('the task images with an engine that forgets digests when it loads', { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  const archive = '/tmp/macula-pinned.tar'
  let pin: string

  before(async () => {
    sandbox = await startSandbox({ only: ['infrastructure'], workflow: false })
    await shell(sandbox, `tar -C / -c etc/hostname | docker import --message pinned - pinned/node:v1.34.4`)
    await shell(sandbox, `docker save pinned/node:v1.34.4 >${archive}; docker image rm pinned/node:v1.34.4`)
    const [read] = await readImageArchives([archive])
    pin = `pinned/node:v1.34.4@${read?.images[0]?.digests[0]}`
  })
  after(async () => {
    await rm(archive, { force: true })
    await sandbox?.exec('docker image rm $(docker image ls --format "{{.Repository}}:{{.Tag}}" pinned/node)')
    await sandbox?.end()
  })
  const images = (...words: string[]) =>
    sandbox.ask(['node', 'lib/cli/launch.mjs', 'images', ...words], {
      env: { KIND_NODE_IMAGE: pin, IMAGE_MIRROR: '' },
    })

  it('loads a pinned image, says that its digest was verified, and has it found under it afterwards', async () => {
    const first = await images('load', archive)
    assert.equal(first.exitCode, 0, first.stderr)
    assert.match(first.stderr, /^ {4}pinned\/node:v1\.34\.4 {2}created; verified by digest sha256:[0-9a-f]{12}$/m)
    await shell(sandbox, `docker image inspect pinned/node:${pin.replace(/.*@sha256:/, 'sha256-')}`)
    const second = await images('load', archive)
    assert.match(second.stderr, /^ {4}pinned\/node:v1\.34\.4 {2}unchanged; /m)
  })
})

/** Another image like that stand-in, which does not say of itself that it is one. */
async function makeReal(sandbox: TestSandbox, standIn: string, name: string): Promise<void> {
  const file = `FROM ${standIn}\\nLABEL macula.standin=\\n`
  await shell(sandbox, `printf '${file}' | docker build --quiet --network none --tag ${name} -`)
}

async function shell(sandbox: TestSandbox, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await sandbox.exec(`set -o pipefail; ${script}`)
  assert.equal(exitCode, 0, stderr)
  return stdout
}
