import { buildEnvironment } from '../compose.ts'
import { messageOf, PlatformError } from '../errors.ts'
import { ask } from '../exec.ts'
import type { Platform } from '../platform.ts'
import { deadline, type HttpAnswer, http } from '../probe.ts'
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
  const { status } = await askRegistry(platform, 'GET', '/v2/')
  if (status === 200) return
  throw new PlatformError(`The registry answers with status ${status} at ${ownUrl(platform)}/v2/`, {
    hint: 'task logs -- registry',
  })
}

/** Digest of an image in its registry; undefined where the registry does not have it. */
export async function digestOf(platform: Platform, repository: string, tag: string): Promise<string | undefined> {
  const own = registryHost(platform.settings)
  if (!repository.startsWith(`${own}/`)) {
    // somebody else's registry may want a login, which Docker knows and we do not
    const format = '{{.Manifest.Digest}}'
    const command = ['docker', 'buildx', 'imagetools', 'inspect', '--format', format, `${repository}:${tag}`]
    const { exitCode, stdout } = await ask(command, { env: buildEnvironment(platform.places) })
    return exitCode === 0 ? stdout.trim() : undefined
  }
  const path = repository.slice(own.length + 1)
  const { status, headers } = await askRegistry(platform, 'HEAD', `/v2/${path}/manifests/${tag}`)
  const digest = headers['docker-content-digest']
  return status === 200 && typeof digest === 'string' ? digest : undefined
}

async function askRegistry(platform: Platform, method: string, path: string): Promise<HttpAnswer> {
  const { signal, done } = deadline(10_000)
  try {
    return await http(`${ownUrl(platform)}${path}`, platform.loopback, signal, {
      method,
      headers: { accept: manifestTypes },
    })
  } catch (error) {
    throw new PlatformError(`The registry does not answer at ${ownUrl(platform)}`, {
      why: messageOf(error),
      hint: 'task start-infrastructure',
    })
  } finally {
    done()
  }
}

function ownUrl({ settings }: Platform): string {
  return `http://${settings.MACULA_LOOPBACK}:${settings.REGISTRY_PORT}`
}
