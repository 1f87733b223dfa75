/** One repository in an image registry. */
export interface Repository {
  /** `https://registry.example.com/v2/a/b` */
  url: string
  get: (url: string, headers?: Record<string, string>) => Promise<Response>
}

const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

/** Docker's own name for its hub, and the address behind it. */
const hub = { name: 'docker.io', address: 'registry-1.docker.io' }

/** The repository of an image. Anonymous, as everybody may pull what is pinned; tokens are fetched where the registry wants one. */
export function registryOf(image: string, get: typeof fetch, timeoutMs: number): Repository {
  const [first = '', ...rest] = image
    .replace(/@.*$/, '')
    .replace(/:[^/:]*$/, '')
    .split('/')
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
  const host = isHost ? first : hub.name
  const path = isHost ? rest.join('/') : [...(rest.length === 0 ? ['library'] : []), first, ...rest].join('/')
  // as Docker does: a registry of this machine need not have a certificate
  const scheme = /^(localhost|127\.)/.test(host) ? 'http' : 'https'
  let token: string | undefined
  const send = async (url: string, headers: Record<string, string> = {}) =>
    get(url, {
      headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      signal: AbortSignal.timeout(timeoutMs),
    })
  return {
    url: `${scheme}://${host === hub.name ? hub.address : host}/v2/${path}`,
    async get(url, headers) {
      const answer = await send(url, headers)
      const challenge = answer.headers.get('www-authenticate')
      if (answer.status !== 401 || challenge === null || token !== undefined) return answer
      token = await tokenFor(challenge, get, timeoutMs)
      return send(url, headers)
    },
  }
}

/** Every tag of a repository. Throws with the status where the registry does not list them. */
export async function tagsOf({ url, get }: Repository): Promise<string[]> {
  const tags: string[] = []
  let page: string | undefined = `${url}/tags/list?n=1000`
  while (page !== undefined) {
    const answer: Response = await get(page)
    if (!answer.ok) throw new Error(`${page} answers ${answer.status}`)
    tags.push(...(((await answer.json()) as { tags: string[] | null }).tags ?? []))
    const next: string | undefined = /<([^>]+)>;\s*rel="?next/.exec(answer.headers.get('link') ?? '')?.[1]
    page = next === undefined ? undefined : new URL(next, page).href
  }
  return tags
}

/** The digest that a tag means now; undefined where there is no such tag. */
export async function tagDigest({ url, get }: Repository, tag: string): Promise<string | undefined> {
  const answer = await get(`${url}/manifests/${tag}`, { accept: manifestTypes })
  if (answer.status === 404) return undefined
  if (!answer.ok) throw new Error(`${url}/manifests/${tag} answers ${answer.status}`)
  return answer.headers.get('docker-content-digest') ?? undefined
}

/**
 * The newest of these tags that is of the same kind as `tag`: as many numbers, the same words before and after them (`v`, `-alpine`, `-pg17`);
 * previews have others. `tag` itself where none is newer.
 */
export function newestTag(tag: string, tags: readonly string[]): string {
  const kind = kindOf(tag)
  return tags
    .filter(other => kindOf(other) === kind)
    .reduce((newest, other) => (compare(numbersOf(other), numbersOf(newest)) > 0 ? other : newest), tag)
}

/** The version in a tag, and what stands around it; a date counts as a version as a whole. */
function partsOf(tag: string): [before: string, version: string, after: string] {
  const [, before = '', version = '', after = ''] =
    /^(RELEASE\.)([\dTZ-]+)()$/.exec(tag) ?? /^(v?)(\d+(?:\.\d+)*)(.*)$/.exec(tag) ?? []
  return [before, version, after]
}

function kindOf(tag: string): string {
  const [before, version, after] = partsOf(tag)
  return `${before}${version.replace(/\d+/g, '0')}${after}`
}

function numbersOf(tag: string): number[] {
  return (partsOf(tag)[1].match(/\d+/g) ?? []).map(Number)
}

function compare(one: readonly number[], other: readonly number[]): number {
  const index = one.findIndex((number, position) => number !== other[position])
  return index === -1 ? 0 : (one[index] ?? 0) - (other[index] ?? 0)
}

async function tokenFor(challenge: string, get: typeof fetch, timeoutMs: number): Promise<string> {
  const fields = [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']): [string, string] => [
    name,
    value,
  ])
  const { realm, ...rest } = Object.fromEntries(fields)
  if (realm === undefined) throw new Error(`wants a login of a kind that is not known here: ${challenge}`)
  const url = new URL(realm)
  for (const [name, value] of Object.entries(rest)) url.searchParams.set(name, value)
  const answer = await get(url, { signal: AbortSignal.timeout(timeoutMs) })
  if (!answer.ok) throw new Error(`${url.origin} gives no token: ${answer.status}`)
  const { token, access_token } = (await answer.json()) as { token?: string; access_token?: string }
  return token ?? access_token ?? ''
}
