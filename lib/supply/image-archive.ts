import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { badInput, messageOf, type Problem } from '../system/errors.ts'
import { $, hasTool } from '../system/exec.ts'
import { silentWork } from '../system/stall.ts'

/** An image in a file. */
export interface ArchivedImage {
  /** As Docker calls it: without `docker.io/library/`, always with a tag. */
  name: string
  /** Docker's id of it: the digest of its configuration. */
  id: string
  /** Digests of its manifest and of the index that lists it, where the file has them: a registry's own where the image was written as it was pulled. */
  digests: string[]
}

/** A file, or a folder, with images for this machine. */
export interface ImageArchive {
  path: string
  images: ArchivedImage[]
  /** `docker load` reads it as it is; an OCI layout gets a manifest of Docker's first. */
  kind: 'docker' | 'layout'
}

/** An entry of the manifest.json in Docker's archives. */
interface DockerManifest {
  Config: string
  RepoTags: string[] | null
  Layers: string[]
}

interface Descriptor {
  digest: string
  /** The index of several platforms that lists it. */
  index?: string
  mediaType?: string
  platform?: { os: string; architecture: string }
  annotations?: Record<string, string>
}

/** What an OCI index or manifest says, as far as it is read. */
interface OciDocument {
  manifests?: Descriptor[]
  config?: Descriptor
  layers?: Descriptor[]
}

/** Names and texts of the files in an archive. */
interface Contents {
  files: ReadonlySet<string>
  read(file: string): Promise<string>
}

const layoutFiles = ['oci-layout', 'index.json']

/** Go's name of this machine's processor. */
export const machineArchitecture = process.arch === 'x64' ? 'amd64' : process.arch

/**
 * Reads what images are in these files and folders: what `docker save` and `task images -- save` write, plain or compressed, and OCI layouts, packed or
 * not. Of other folders, the files in them. Throws one error for all that are no archive, cut off, or for another processor.
 */
export async function readImageArchives(paths: readonly string[]): Promise<ImageArchive[]> {
  const { archives, problems } = await lookAtImageArchives(paths)
  if (problems.length > 0) throw badInput('Images cannot be read from these files', problems)
  return archives
}

/** The same, with what is wrong beside what is right. */
export async function lookAtImageArchives(
  paths: readonly string[],
): Promise<{ archives: ImageArchive[]; problems: Problem[] }> {
  const archives: ImageArchive[] = []
  const problems: Problem[] = []
  for (const path of await filesOf(paths, problems)) {
    try {
      archives.push(await readArchive(path))
    } catch (error) {
      problems.push({ where: path, what: messageOf(error) })
    }
  }
  return { archives, problems }
}

/** The archives' own paths: a folder that is no layout stands for the files in it. */
async function filesOf(paths: readonly string[], problems: Problem[]): Promise<string[]> {
  const found: string[] = []
  for (const path of paths) {
    const stats = await stat(path).catch(() => undefined)
    if (stats === undefined) problems.push({ where: path, what: 'is not there' })
    else if (!stats.isDirectory()) found.push(path)
    else {
      const names = (await readdir(path)).sort()
      if (layoutFiles.every(file => names.includes(file))) found.push(path)
      else found.push(...names.filter(name => isArchiveName(name)).map(name => join(path, name)))
    }
  }
  return found
}

function isArchiveName(name: string): boolean {
  return /\.(tar|tar\.gz|tgz|tar\.zst|tzst)$/.test(name)
}

async function readArchive(path: string): Promise<ImageArchive> {
  const contents = await contentsOf(path)
  const isLayout = layoutFiles.every(file => contents.files.has(file))
  if (contents.files.has('manifest.json')) {
    const manifests = (await json(contents, 'manifest.json')) as DockerManifest[]
    const digests = isLayout ? await digestsOf(contents) : new Map<string, string[]>()
    const images = await Promise.all(manifests.map(manifest => imagesOf(contents, manifest, digests)))
    return { path, images: images.flat(), kind: 'docker' }
  }
  if (!isLayout) throw new Error('has neither a manifest.json nor an OCI layout: it is no archive of images')
  const manifests = await layoutManifests(contents)
  const digests = await digestsOf(contents)
  const images = await Promise.all(manifests.map(manifest => imagesOf(contents, manifest, digests)))
  return { path, images: images.flat(), kind: 'layout' }
}

async function imagesOf(
  contents: Contents,
  { Config, RepoTags }: DockerManifest,
  digests: ReadonlyMap<string, string[]>,
): Promise<ArchivedImage[]> {
  const text = await contents.read(Config)
  const { os, architecture } = JSON.parse(text) as { os: string; architecture: string }
  if (os !== 'linux' || architecture !== machineArchitecture)
    throw new Error(`is for ${os} on ${architecture}; this machine has linux on ${machineArchitecture}`)
  const id = digestOf(text)
  return (RepoTags ?? []).map(name => ({ name: dockerName(name), id, digests: digests.get(id) ?? [] }))
}

/** `docker.io/library/nginx:1@sha256:…` → `nginx:1`, and `nginx` → `nginx:latest`. */
export function dockerName(name: string): string {
  const short = name.replace(/@.*$/, '').replace(/^(docker\.io\/)?(library\/)?/, '')
  return /:[^/]*$/.test(short) ? short : `${short}:latest`
}

/** Digests of the manifest and index of each image, by the digest of its configuration. */
async function digestsOf(contents: Contents): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  for (const { digest, index } of await manifestsIn(contents)) {
    const { config } = await document(contents, digest)
    if (config) found.set(config.digest, [digest, ...(index ? [index] : [])])
  }
  return found
}

/** What manifest.json would say of an OCI layout. */
async function layoutManifests(contents: Contents): Promise<DockerManifest[]> {
  const manifests: DockerManifest[] = []
  for (const { digest, annotations = {} } of await manifestsIn(contents)) {
    const { config, layers = [] } = await document(contents, digest)
    const name = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'] ?? ''
    // a bare tag does not say of what
    if (!/[/:]/.test(name)) throw new Error(`does not say how its image is called${name && `, only '${name}'`}`)
    if (config)
      manifests.push({ Config: blob(config.digest), RepoTags: [name], Layers: layers.map(l => blob(l.digest)) })
  }
  return manifests
}

/** The manifests of an OCI layout that are for this machine; an index of several platforms stands for one of them. */
async function manifestsIn(contents: Contents): Promise<Descriptor[]> {
  const { manifests = [] } = (await json(contents, 'index.json')) as OciDocument
  const found: Descriptor[] = []
  for (const descriptor of manifests) {
    const inner = descriptor.mediaType?.includes('index') || descriptor.mediaType?.includes('manifest.list')
    if (!inner) found.push(descriptor)
    else {
      const ours = ((await document(contents, descriptor.digest)).manifests ?? []).find(
        ({ platform }) => platform?.os === 'linux' && platform.architecture === machineArchitecture,
      )
      if (!ours) throw new Error(`has no image for linux on ${machineArchitecture}`)
      const { annotations, digest: index } = descriptor
      found.push({ ...ours, index, ...(annotations ? { annotations } : {}) })
    }
  }
  return found
}

async function document(contents: Contents, digest: string): Promise<OciDocument> {
  const text = await contents.read(blob(digest))
  if (digestOf(text) !== digest) throw new Error(`is damaged: ${blob(digest)} has another content than its name says`)
  return JSON.parse(text) as OciDocument
}

async function json(contents: Contents, file: string): Promise<unknown> {
  const text = await contents.read(file)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Error(`has a ${file} that is no JSON: ${messageOf(error)}`)
  }
}

function blob(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}

function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}

async function contentsOf(path: string): Promise<Contents> {
  if ((await stat(path)).isDirectory()) {
    const files = await readdir(path, { recursive: true })
    return { files: new Set(files), read: file => readFile(join(path, file), 'utf8') }
  }
  // reads all of it, so that an end that is missing is found before anything is loaded
  const listed = await tar(path, ['--list'])
  const names = new Map(listed.split('\n').map(name => [name.replace(/^\.\//, ''), name]))
  return {
    files: new Set(names.keys()),
    async read(file) {
      const name = names.get(file)
      if (name === undefined) throw new Error(`lacks ${file}`)
      return tar(path, ['--extract', '--to-stdout'], name)
    },
  }
}

async function tar(path: string, action: readonly string[], ...files: string[]): Promise<string> {
  // tar tells gzip and zstd by the first bytes, and calls their programs
  const { exitCode, stdout, stderr } = await $({
    nothrow: true,
    idle: silentWork,
  })`tar ${action} --file ${path} ${files}`
  if (exitCode === 0) return stdout
  if (/zstd: (Cannot exec|not found)/.test(stderr) || (/\.t?zst$/.test(path) && !(await hasTool('zstd'))))
    throw new Error('is compressed with zstd, which is not installed: apt-get install zstd')
  if (/unexpected end|Unexpected EOF|premature end/i.test(stderr)) throw new Error('is cut off: its end is missing')
  throw new Error(`is no archive: ${stderr.trim().split('\n')[0]}`)
}

/**
 * Runs `load` with a file that `docker load` reads: the archive itself, or for an OCI layout a copy with a manifest of Docker's in it.
 */
export async function withDockerArchive<T>(
  { path, kind }: ImageArchive,
  load: (file: string) => Promise<T>,
): Promise<T> {
  if (kind === 'docker') return load(path)
  const work = await mkdtemp(join(tmpdir(), 'macula-layout-'))
  try {
    const contents = await contentsOf(path)
    await writeFile(join(work, 'manifest.json'), JSON.stringify(await layoutManifests(contents)))
    const file = join(work, 'image.tar')
    const folder = contents.files.has('blobs') && (await stat(path)).isDirectory() ? path : join(work, 'layout')
    if (folder !== path) {
      await $`mkdir ${folder}`
      await $({ idle: silentWork })`tar --extract --file ${path} --directory ${folder}`
    }
    await $({
      idle: silentWork,
    })`tar --create --file ${file} --directory ${folder} oci-layout index.json blobs --directory ${work} manifest.json`
    return await load(file)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
