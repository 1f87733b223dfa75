import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, it } from 'node:test'
import {
  dockerName,
  lookAtImageArchives,
  machineArchitecture,
  readImageArchives,
  withDockerArchive,
} from '../../../lib/supply/image-archive.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { $, hasTool } from '../../../lib/system/exec.ts'

const noZstd = !(await hasTool('zstd')) && 'zstd is not installed'
const work = await mkdtemp(join(tmpdir(), 'macula-archives-'))
after(() => rm(work, { recursive: true }))

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const config = (architecture: string) => JSON.stringify({ os: 'linux', architecture, rootfs: { type: 'layers' } })
const ours = config(machineArchitecture)
const other = machineArchitecture === 'arm64' ? 'amd64' : 'arm64'

/** Writes files into a folder of their own. */
async function folderWith(name: string, files: Record<string, string>): Promise<string> {
  const folder = join(work, name)
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), text)
  }
  return folder
}

/** What `docker save` writes, as a file; `how` are options of tar. */
async function dockerArchive(name: string, images: Record<string, string>, ...how: string[]): Promise<string> {
  const manifest = Object.entries(images).map(([tag, text]) => ({
    Config: `${sha256(text)}.json`,
    RepoTags: [tag],
    Layers: ['layer.tar'],
  }))
  const folder = await folderWith(`${name}.folder`, {
    'manifest.json': JSON.stringify(manifest),
    'layer.tar': 'x'.repeat(100_000),
    ...Object.fromEntries(Object.values(images).map(text => [`${sha256(text)}.json`, text])),
  })
  await $`tar --create ${how} --file ${join(work, name)} --directory ${folder} .`
  return join(work, name)
}

/** An OCI layout with one image, for one platform or below an index for two. */
async function layout(name: string, image: string, { index = false, damaged = false } = {}): Promise<string> {
  const files: Record<string, string> = { 'oci-layout': '{"imageLayoutVersion":"1.0.0"}' }
  const add = (text: string) => {
    files[`blobs/sha256/${sha256(text)}`] = damaged ? `${text} ` : text
    return `sha256:${sha256(text)}`
  }
  const manifest = (text: string) =>
    add(JSON.stringify({ config: { digest: add(text) }, layers: [{ digest: add('layer') }] }))
  const annotations = { 'io.containerd.image.name': image }
  const platform = (architecture: string) => ({ os: 'linux', architecture })
  const manifests = index
    ? [
        {
          mediaType: 'application/vnd.oci.image.index.v1+json',
          annotations,
          digest: add(
            JSON.stringify({
              manifests: [
                { digest: manifest(config(other)), platform: platform(other) },
                { digest: manifest(ours), platform: platform(machineArchitecture) },
              ],
            }),
          ),
        },
      ]
    : [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', annotations, digest: manifest(ours) }]
  return folderWith(name, { ...files, 'index.json': JSON.stringify({ manifests }) })
}

const images = async (...paths: string[]) => {
  const archives = await readImageArchives(paths)
  return archives.map(({ images, kind }) => [kind, images.map(({ name }) => name)])
}

describe('a file with images', () => {
  it("may be Docker's archive, plain or compressed, with one image or more", async () => {
    const plain = await dockerArchive('plain.tar', { 'nginx:1': ours, 'docker.io/grafana/loki:3': `${ours} ` })
    const gzip = await dockerArchive('gzip.tar.gz', { 'docker.io/library/postgres:17': ours }, '--gzip')
    assert.deepEqual(await images(plain, gzip), [
      ['docker', ['nginx:1', 'grafana/loki:3']],
      ['docker', ['postgres:17']],
    ])
    const [archive] = await readImageArchives([plain])
    assert.deepEqual(archive?.images[0], { name: 'nginx:1', id: `sha256:${sha256(ours)}`, digests: [] })
  })

  it('may be compressed with zstd', { skip: noZstd }, async () => {
    assert.deepEqual(await images(await dockerArchive('z.tar.zst', { 'nginx:1': ours }, '--zstd')), [
      ['docker', ['nginx:1']],
    ])
  })

  it('may be an OCI layout, a folder or packed, of which the image for this machine counts', async () => {
    const folder = await layout('layout', 'docker.io/library/nginx:1')
    const several = await layout('index', 'docker.io/grafana/tempo:3.0.3', { index: true })
    const packed = join(work, 'packed.tar')
    await $`tar --create --file ${packed} --directory ${several} .`
    assert.deepEqual(await images(folder, several, packed), [
      ['layout', ['nginx:1']],
      ['layout', ['grafana/tempo:3.0.3']],
      ['layout', ['grafana/tempo:3.0.3']],
    ])
    const [archive] = await readImageArchives([several])
    assert.equal(archive?.images[0]?.id, `sha256:${sha256(ours)}`)
    const { manifests } = JSON.parse(await readFile(join(several, 'index.json'), 'utf8'))
    const { digest } = manifests[0]
    const inner = JSON.parse(await readFile(join(several, 'blobs', digest.replace(':', '/')), 'utf8')).manifests
    assert.deepEqual(archive?.images[0]?.digests, [inner[1].digest, digest])
  })

  it('stands for itself in a folder, where other files are left alone', async () => {
    const folder = await folderWith('several', { 'README.md': 'words' })
    await $`cp ${await dockerArchive('a.tar', { 'a:1': ours })} ${await dockerArchive('b.tar.gz', { 'b:1': ours }, '--gzip')} ${folder}`
    assert.deepEqual(await images(folder), [
      ['docker', ['a:1']],
      ['docker', ['b:1']],
    ])
  })

  it("gets a manifest of Docker's where it is an OCI layout", async () => {
    for (const path of [await layout('convert', 'nginx:1'), join(work, 'packed.tar')]) {
      const [archive] = await readImageArchives([path])
      assert.ok(archive)
      await withDockerArchive(archive, async file => {
        const [manifest] = await $`tar --extract --to-stdout --file ${file} manifest.json`.json()
        assert.deepEqual(
          manifest.RepoTags.map(dockerName),
          archive.images.map(({ name }) => name),
        )
        const listed = await $`tar --list --file ${file}`.lines()
        for (const part of [manifest.Config, ...manifest.Layers])
          assert.ok(
            listed.some(name => name.replace('./', '') === part),
            part,
          )
      })
    }
  })
})

describe('files that are not what they should be', () => {
  it('are all named in one report, with what is wrong', async () => {
    const words = join(work, 'words.tar')
    await writeFile(words, 'these are words')
    const cut = await dockerArchive('cut.tar', { 'nginx:1': ours })
    await truncate(cut, 60_000)
    const cutGzip = await dockerArchive('cut.tar.gz', { 'nginx:1': ours }, '--gzip')
    await truncate(cutGzip, 300)
    const foreign = await dockerArchive('foreign.tar', { 'nginx:1': config(other) })
    const folder = await folderWith('no-images', { 'a.txt': 'a' })
    const empty = join(work, 'no-images.tar')
    await $`tar --create --file ${empty} --directory ${folder} .`
    const damaged = await layout('damaged', 'nginx:1', { damaged: true })
    const nameless = await layout('nameless', 'latest')
    const good = await dockerArchive('good.tar', { 'nginx:1': ours })
    const paths = [words, cut, cutGzip, foreign, empty, damaged, nameless, '/nowhere.tar', good]

    const { archives, problems } = await lookAtImageArchives(paths)
    assert.deepEqual(
      archives.map(({ path }) => path),
      [good],
    )
    const said = Object.fromEntries(problems.map(({ where, what }) => [where, what]))
    assert.match(said[words] ?? '', /^is no archive: tar: This does not look like a tar archive/)
    assert.equal(said[cut], 'is cut off: its end is missing')
    assert.equal(said[cutGzip], 'is cut off: its end is missing')
    assert.equal(said[foreign], `is for linux on ${other}; this machine has linux on ${machineArchitecture}`)
    assert.match(said[empty] ?? '', /^has neither a manifest.json nor an OCI layout/)
    assert.match(said[damaged] ?? '', /^is damaged: blobs\/sha256\/[0-9a-f]{64} has another content/)
    assert.equal(said[nameless], "does not say how its image is called, only 'latest'")
    assert.equal(said['/nowhere.tar'], 'is not there')
    await assert.rejects(readImageArchives(paths), (error: PlatformError) => {
      assert.equal(error.exitCode, 2)
      assert.equal(error.why?.split('\n').length, 8)
      return true
    })
  })
})

describe('the name of an image in an archive', () => {
  it('is read as Docker reads it', () => {
    assert.equal(dockerName('docker.io/library/nginx:1'), 'nginx:1')
    assert.equal(dockerName('nginx'), 'nginx:latest')
    assert.equal(dockerName('localhost:5001/macula/console'), 'localhost:5001/macula/console:latest')
  })
})
