import { createHash } from 'node:crypto'
import { chmod, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, PlatformError } from '../system/errors.ts'
import { download as fromAddress } from '../system/http.ts'
import { buildGoPrograms, type GoRecipe, machineGo } from './go.ts'

export type ToolName = 'kind' | 'kubectl'

/** A program as its authors publish it. */
interface Release {
  version: string
  /** `linux-amd64` as the authors spell it in the address. */
  url(os: string, architecture: string): string
  /** SHA-256 of what stands there, by `os-architecture`. */
  sha256: Readonly<Record<string, string>>
  /** How Go makes the same program; what it downloads is held against the public checksum database. */
  recipe: GoRecipe
  /** What it is asked for its version, and how the answer reads. */
  asked: readonly string[]
  answer: RegExp
}

const kindVersion = '0.33.0'
const kubectlVersion = '1.35.8'

/** The programs we install: kind as new as the newest node image, kubectl of the default node image. */
export const releases: Readonly<Record<ToolName, Release>> = {
  kind: {
    version: kindVersion,
    url: (os, architecture) => `https://kind.sigs.k8s.io/dl/v${kindVersion}/kind-${os}-${architecture}`,
    sha256: {
      'linux-amd64': 'aee6151561422756b764a4ae28e7f44cda5af5a9eead3cc9985112b1de8d8e0d',
      'linux-arm64': '20022bee6cfcd5086cb7234d218e3454e6090022f2a8f55d1fa7fcf42c3867a2',
      'darwin-amd64': '5a99f26f57246dc9319dd294803313197a0f34d33c525b3ea8b655db5916ece0',
      'darwin-arm64': '0c8c7dbe5e23594a198b786c4bc13dacc101fa6196b0cb0b23a1ca44e61f4b4f',
    },
    recipe: { module: 'sigs.k8s.io/kind', version: `v${kindVersion}`, programs: { kind: 'sigs.k8s.io/kind' } },
    asked: ['version', '--quiet'],
    answer: /^v?(\S+)/,
  },
  kubectl: {
    version: kubectlVersion,
    url: (os, architecture) => `https://dl.k8s.io/release/v${kubectlVersion}/bin/${os}/${architecture}/kubectl`,
    sha256: {
      'linux-amd64': '874d5e72dbb819f43cff16bcd1e4f8bac5b7f2361fe1e55049b0a6c676fb0cbf',
      'linux-arm64': 'cc749967b62f4422260bc9c0aa7a7c55f45175ae38cb8d95767b5d2b7e04c1fd',
      'darwin-amd64': '35c964c16432ea65eda6600d6ff4fea040d5eafcb6ad410297ba67d49b618148',
      'darwin-arm64': 'b8be50ae0c6665b646fb009f904a52cad30806deee19ab3b4fe5af2d68bd82eb',
    },
    recipe: {
      module: 'k8s.io/kubernetes',
      version: `v${kubectlVersion}`,
      foldersAre: `v0.${kubectlVersion.slice(2)}`,
      programs: { kubectl: 'k8s.io/kubernetes/cmd/kubectl' },
      variables: { 'k8s.io/component-base/version.gitVersion': `v${kubectlVersion}` },
    },
    asked: ['version', '--client'],
    answer: /^Client Version: v(\S+)/m,
  },
}

export interface InstallOptions {
  report?: (phase: string) => void
  download?: (url: string, file: string) => Promise<void>
  /** As the authors spell it. */
  os?: string
  architecture?: string
}

/**
 * Fills `folder` with the program: as published, else, where its host is out of reach, compiled; by the machine's own Go, or with `anyGo` by one that
 * is fetched into the cache. Throws where it cannot be had, or is not what its authors published.
 */
export async function supplyRelease(
  name: ToolName,
  folder: string,
  cacheDir: string,
  { anyGo = false, ...options }: InstallOptions & { anyGo?: boolean } = {},
): Promise<void> {
  const { version, recipe } = releases[name]
  const { report = () => {} } = options
  report(`downloading ${name} ${version}`)
  const unreachable = await downloaded(name, join(folder, name), options)
  if (unreachable === undefined) return
  if (!anyGo && (await machineGo()) === undefined)
    throw new PlatformError(`${name} ${version} could not be installed`, {
      why: `${unreachable}\nThere is no Go on this machine to compile it with, either`,
      hint: `Install ${name} by hand and set CLUSTER_TOOLS=path in .env, or have Go 1.25 or newer on PATH`,
    })
  await buildGoPrograms(recipe, folder, { cacheDir, note: report })
}

/** Downloads a release and holds it against its checksum. Gives the reason where its host is out of reach; throws where it sends something else. */
async function downloaded(
  name: ToolName,
  file: string,
  {
    download = fromAddress,
    os = process.platform,
    architecture = process.arch === 'x64' ? 'amd64' : process.arch,
  }: InstallOptions,
): Promise<string | undefined> {
  const { url, sha256 } = releases[name]
  const wanted = sha256[`${os}-${architecture}`]
  if (wanted === undefined) return `${name} is not published for ${os} on ${architecture}`
  const address = url(os, architecture)
  try {
    await download(address, file)
  } catch (error) {
    await rm(file, { force: true })
    return messageOf(error)
  }
  const got = createHash('sha256')
    .update(await readFile(file))
    .digest('hex')
  if (got !== wanted)
    throw new PlatformError(`What ${address} sent is not ${name} ${releases[name].version}; it was thrown away`, {
      why: `its SHA-256 is    ${got}\nand should be ${wanted}`,
      hint: 'Look for a proxy that answers in its place. With CLUSTER_TOOLS=path in .env, programs on PATH are used',
    })
  await chmod(file, 0o755)
  return undefined
}
