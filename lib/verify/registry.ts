import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { PlatformError } from '../system/errors.ts'
import { type HttpRequest, type HttpResponse, http } from '../system/http.ts'
import { deadline } from '../system/wait.ts'
import { type CheckGroup, defaultLimits, expectStatus, thenCleanUp } from './check.ts'
import { webServerCheck } from './urls.ts'

/** One repository for all runs: a registry still lists a repository whose last image is deleted. */
const repository = 'macula/verify'
const manifestType = 'application/vnd.oci.image.manifest.v1+json'

/** A tiny image is pushed to the registry's documented port, the way `docker push` does it, pulled back, and deleted. */
export const images: CheckGroup = ({ platform, unique }) => {
  const service = platform.services.find(({ name }) => name === 'registry')
  const [port] = service?.ports ?? []
  if (service === undefined || port === undefined) return []
  const { loopback } = service
  // Docker is told `localhost`, because it takes no other name without TLS; the address is the one that is published
  const base = `http://localhost:${port.listen}/v2/${repository}`
  return [
    {
      name: `an image, pushed to localhost:${port.listen} and pulled`,
      service: service.name,
      // its port is the web server's
      needs: [webServerCheck(platform)],
      realOnly: true,
      async run(tools) {
        const end = deadline(defaultLimits.checkMs + defaultLimits.cleanUpMs)
        try {
          return await roundTrip(
            base,
            unique,
            (url, request) => tools.http(url, { ...request, ip: loopback }),
            (url, request) => http(url, { ...request, ip: loopback, signal: end.signal }),
          )
        } finally {
          end.done()
        }
      },
    },
  ]
}

type Send = (url: string, request?: HttpRequest) => Promise<HttpResponse>

async function roundTrip(base: string, tag: string, send: Send, cleanUp: Send): Promise<string> {
  // an empty tar archive is 1024 zero bytes; what follows its end is ignored, and makes this one unique
  const layer = gzipSync(Buffer.concat([Buffer.alloc(1024), Buffer.from(tag)]))
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [] },
      config: { Labels: { tag } },
    }),
  )
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf(layer), size: layer.length }],
  })
  const made: string[] = []
  await thenCleanUp(
    async () => {
      for (const blob of [layer, config]) {
        await pushBlob(base, blob, send)
        made.push(`${base}/blobs/${digestOf(blob)}`)
      }
      const headers = { 'content-type': manifestType }
      const pushed = await send(`${base}/manifests/${tag}`, { method: 'PUT', headers, body: manifest })
      expectStatus(pushed, [201], 'Pushing the manifest')
      // first of all: an image without its blobs would be broken
      made.unshift(`${base}/manifests/${digestOf(manifest)}`)

      const pulled = await send(`${base}/manifests/${tag}`, { headers: { accept: manifestType } })
      if (expectStatus(pulled, [200], 'Pulling the manifest').body !== manifest)
        throw new PlatformError('The manifest that was pulled is not the one that was pushed')
      const blob = expectStatus(await send(`${base}/blobs/${digestOf(config)}`), [200], 'Pulling a blob')
      if (digestOf(blob.body) !== digestOf(config))
        throw new PlatformError('The blob that was pulled is not the one that was pushed')
    },
    async () => {
      for (const url of made) expectStatus(await cleanUp(url, { method: 'DELETE' }), [202, 404], 'Deleting')
    },
  )
  return 'pushed, pulled and deleted'
}

async function pushBlob(base: string, blob: Buffer, send: Send): Promise<void> {
  const started = expectStatus(
    await send(`${base}/blobs/uploads/`, { method: 'POST', body: '' }),
    [202],
    'Starting an upload',
  )
  const place = new URL(started.headers.location ?? '', base)
  place.searchParams.set('digest', digestOf(blob))
  // the registry may name itself by another host than the one it was reached by
  const url = new URL(place.pathname + place.search, base).href
  const headers = { 'content-type': 'application/octet-stream' }
  expectStatus(await send(url, { method: 'PUT', headers, body: blob }), [201], 'Pushing a blob')
}

function digestOf(content: string | Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`
}
