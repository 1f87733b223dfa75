import { PlatformError } from '../errors.ts'
import { ask } from '../exec.ts'
import type { Platform } from '../platform.ts'
import { registryHost } from './cluster.ts'

const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

/** Throws unless the registry that images are pushed to answers. */
export async function requireRegistry(platform: Platform): Promise<void> {
  const { CLUSTER, REGISTRY } = platform.settings
  if (CLUSTER === 'existing') {
    if (REGISTRY) return
    throw new PlatformError('An existing cluster needs a registry that both sides reach', {
      hint: 'Set REGISTRY in .env to host/prefix, like registry.example.com/macula',
    })
  }
  const url = `${ownUrl(platform)}/v2/`
  const reason = await fetch(url, { signal: AbortSignal.timeout(5000) }).then(
    ({ ok, status }) => (ok ? undefined : `status ${status}`),
    error => reasonOf(error),
  )
  if (reason === undefined) return
  throw new PlatformError(`The registry does not answer at ${url}`, { why: reason, hint: 'task start-infrastructure' })
}

/** Digest of an image in its registry; undefined where the registry does not have it. */
export async function digestOf(platform: Platform, repository: string, tag: string): Promise<string | undefined> {
  const own = registryHost(platform.settings)
  if (!repository.startsWith(`${own}/`)) {
    // somebody else's registry may want a login, which Docker knows and we do not
    const format = '{{.Manifest.Digest}}'
    const { exitCode, stdout } = await ask([
      'docker',
      'buildx',
      'imagetools',
      'inspect',
      '--format',
      format,
      `${repository}:${tag}`,
    ])
    return exitCode === 0 ? stdout.trim() : undefined
  }
  const path = repository.slice(own.length + 1)
  const response = await fetch(`${ownUrl(platform)}/v2/${path}/manifests/${tag}`, {
    method: 'HEAD',
    headers: { accept: manifestTypes },
    signal: AbortSignal.timeout(10_000),
  }).catch(error => {
    throw new PlatformError(`The registry does not answer at ${ownUrl(platform)}`, {
      why: reasonOf(error),
      hint: 'task start-infrastructure',
    })
  })
  return response.ok ? (response.headers.get('docker-content-digest') ?? undefined) : undefined
}

function ownUrl({ settings }: Platform): string {
  return `http://${settings.MACULA_LOOPBACK}:${settings.REGISTRY_PORT}`
}

function reasonOf(error: Error & { cause?: unknown }): string {
  return error.cause instanceof Error ? error.cause.message : error.message
}
