import { join } from 'node:path'
import { root } from '../system/checkout.ts'
import { messageOf } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { newestTag, registryOf, tagDigest, tagsOf } from './registry-client.ts'
import { releases } from './releases.ts'

/** Something whose version is pinned, and what its publisher has. */
export interface PinState {
  kind: 'image' | 'program' | 'npm'
  name: string
  pinned: string
  /** The newest version of the same kind: same suffix, no preview; undefined where its publisher could not be reached. */
  newest?: string | undefined
  /** `current`, `newer`, `digest changed` (another image under the pinned tag), or why nothing is known. */
  state: 'current' | 'newer' | 'digest changed' | 'not reached'
  detail: string
}

export interface OutdatedOptions {
  /** Name that an image is asked for under: behind a mirror, say. */
  mirrored?: (image: string) => string
  fetch?: typeof fetch
}

/** A publisher that does not answer in this time is not reached. */
const timeoutMs = 15_000

/** Compares pinned images with their registries: whether there is a newer tag, and whether a pinned digest is still what the tag means. */
export function outdatedImages(
  images: readonly string[],
  { mirrored = image => image, fetch: get = fetch }: OutdatedOptions = {},
): Promise<PinState[]> {
  return Promise.all([...new Set(images)].map(image => stateOfImage(image, mirrored(image), get)))
}

async function stateOfImage(image: string, asked: string, get: typeof fetch): Promise<PinState> {
  const [, name = image, tag = 'latest', digest] = /^(.*?)(?::([^:@/]+))?(?:@(sha256:[0-9a-f]+))?$/.exec(image) ?? []
  const pin = { kind: 'image', name, pinned: tag } as const
  try {
    const source = registryOf(asked, get, timeoutMs)
    const newest = newestTag(tag, await tagsOf(source))
    if (digest !== undefined) {
      const now = await tagDigest(source, tag)
      if (now !== digest) return { ...pin, newest, state: 'digest changed', detail: `${tag} is ${now ?? 'gone'} now` }
    }
    return { ...pin, newest, state: newest === tag ? 'current' : 'newer', detail: '' }
  } catch (error) {
    return { ...pin, state: 'not reached', detail: reasonOf(error) }
  }
}

/** Compares the pinned kind and kubectl with what their authors have released; kubectl within its minor version. */
export async function outdatedPrograms({ fetch: get = fetch }: OutdatedOptions = {}): Promise<PinState[]> {
  const { kind, kubectl } = releases
  const minor = kubectl.version.split('.').slice(0, 2).join('.')
  const newestKubectl = async () => (await text(`https://dl.k8s.io/release/stable-${minor}.txt`, get)).trim()
  const newestKind = async () => {
    const { headers } = await answer('https://github.com/kubernetes-sigs/kind/releases/latest', get)
    return /\/tag\/(v[\d.]+)$/.exec(headers.get('location') ?? '')?.[1] ?? ''
  }
  return Promise.all([
    stateOfProgram('kind', kind.version, newestKind),
    stateOfProgram('kubectl', kubectl.version, newestKubectl),
  ])
}

async function stateOfProgram(name: string, pinned: string, ask: () => Promise<string>): Promise<PinState> {
  const pin = { kind: 'program', name, pinned } as const
  try {
    const newest = (await ask()).replace(/^v/, '')
    if (!/^\d+\.\d+\.\d+$/.test(newest)) throw new Error(`its publisher names no version: ${newest.slice(0, 40)}`)
    return { ...pin, newest, state: newest === pinned ? 'current' : 'newer', detail: '' }
  } catch (error) {
    return { ...pin, state: 'not reached', detail: reasonOf(error) }
  }
}

/** Compares the npm packages in `folder` with npm's registry, by npm itself: with the user's own mirror, proxy and login. */
export async function outdatedPackages(folder = root): Promise<PinState[]> {
  const { dependencies = {}, devDependencies = {} } = (await $`cat ${join(folder, 'package.json')}`.json()) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string> | undefined
  >
  const pins = Object.entries({ ...dependencies, ...devDependencies })
  const npm = $({ cwd: folder, nothrow: true, timeout: '2m', env: { npm_config_fetch_retries: '0' } })
  // exits with 1 where something is outdated
  const { stdout, stderr } = await npm`npm outdated --json --long`
  const said = JSON.parse(stdout || '{}') as { error?: { summary: string } } & Record<string, { latest?: string }>
  const failure = said.error?.summary ?? /npm error (?!code)(.*)/.exec(stderr)?.[1]
  return pins.map(([name, pinned]) => {
    const pin = { kind: 'npm', name, pinned } as const
    if (failure !== undefined) return { ...pin, state: 'not reached', detail: failure }
    const newest = said[name]?.latest ?? pinned
    return { ...pin, newest, state: newest === pinned ? 'current' : 'newer', detail: '' }
  })
}

async function text(url: string, get: typeof fetch): Promise<string> {
  const response = await answer(url, get, 'follow')
  if (!response.ok) throw new Error(`${url} answers ${response.status}`)
  return response.text()
}

function answer(url: string, get: typeof fetch, redirect: 'manual' | 'follow' = 'manual'): Promise<Response> {
  return get(url, { redirect, signal: AbortSignal.timeout(timeoutMs) })
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause ? `: ${messageOf(error.cause)}` : ''
  return `${messageOf(error)}${cause}`
}
