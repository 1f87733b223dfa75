import { AwsClient } from 'aws4fetch'
import { PlatformError } from '../system/errors.ts'
import { type CheckGroup, expectStatus, type Tools, thenCleanUp } from './check.ts'
import { needsOf } from './urls.ts'

/** An object is put into the object store, read back and deleted, in a bucket of its own, with requests signed by the settings' keys. */
export const objects: CheckGroup = ({ platform, unique }) => {
  const service = platform.services.find(({ name }) => name === 'minio')
  const name = service?.names[0]
  if (service === undefined || name === undefined) return []
  const { MINIO_ROOT_USER, MINIO_ROOT_PASSWORD } = platform.settings
  const client = new AwsClient({
    accessKeyId: MINIO_ROOT_USER,
    secretAccessKey: MINIO_ROOT_PASSWORD,
    service: 's3',
    region: 'us-east-1',
  })
  return [
    {
      name: 'an object, put and read back',
      service: service.name,
      needs: needsOf(platform, name),
      realOnly: true,
      run: tools => roundTrip(client, `http://${name}/verify-${unique}`, unique, tools),
    },
  ]
}

async function roundTrip(client: AwsClient, bucket: string, unique: string, tools: Tools): Promise<string> {
  const object = `${bucket}/${unique}`
  const send = async (by: Tools['http'], method: string, url: string, body?: string) => {
    const signed = await client.sign(url, { method, ...(body === undefined ? {} : { body }) })
    const headers = Object.fromEntries(signed.headers)
    return by(url, { method, headers, ...(body === undefined ? {} : { body }) })
  }
  const cleanUp: Tools['http'] = (url, request = {}) => tools.cleanUp(url, request)
  await thenCleanUp(
    async () => {
      expectStatus(
        await send(tools.http, 'PUT', bucket),
        [200],
        'Making a bucket with MINIO_ROOT_USER and MINIO_ROOT_PASSWORD',
      )
      expectStatus(await send(tools.http, 'PUT', object, unique), [200], 'Putting an object')
      const { body } = expectStatus(await send(tools.http, 'GET', object), [200], 'Getting the object')
      if (body !== unique) throw new PlatformError(`Got ${JSON.stringify(body.slice(0, 80))} in place of what was put`)
    },
    async () => {
      expectStatus(await send(cleanUp, 'DELETE', object), [204, 404], 'Deleting the object')
      expectStatus(await send(cleanUp, 'DELETE', bucket), [204, 404], 'Deleting the bucket')
    },
  )
  return 'put, read back and deleted'
}
