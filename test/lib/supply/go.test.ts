import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { crc32 } from 'node:zlib'
import { buildGoPrograms, machineGo } from '../../../lib/supply/go.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { $ } from '../../../lib/system/exec.ts'

const skip = (await machineGo()) === undefined && 'Go is not installed'
const recipe = { module: 'proxy.test/hello', version: 'v1.0.0', programs: { hello: 'proxy.test/hello' } }

/** What a proxy for Go modules answers: https://go.dev/ref/mod#goproxy-protocol */
const files: Record<string, Buffer> = {
  'v1.0.0.info': Buffer.from('{"Version":"v1.0.0"}'),
  'v1.0.0.mod': Buffer.from('module proxy.test/hello\n\ngo 1.21\n'),
  'v1.0.0.zip': zipOf({
    'proxy.test/hello@v1.0.0/go.mod': 'module proxy.test/hello\n\ngo 1.21\n',
    // no package but the runtime has to be compiled for it
    'proxy.test/hello@v1.0.0/main.go': 'package main\n\nfunc main() { print("hello") }\n',
  }),
}

describe('a program out of a Go module', { skip }, () => {
  let cacheDir: string
  let proxy: Server
  let asked: string[]
  /** How many answers are still cut off in the middle. */
  let cuts = 0
  const environment = { ...process.env }

  before(async () => {
    cacheDir = await mkdtemp(join(tmpdir(), 'macula-go-test-'))
    proxy = createServer((request, response) => {
      const name = request.url?.split('/').at(-1) ?? ''
      asked.push(name)
      const file = files[name]
      if (file === undefined) return void response.writeHead(404).end()
      response.writeHead(200, { 'content-length': file.length })
      if (!name.endsWith('.zip') || cuts === 0) return void response.end(file)
      cuts -= 1
      response.write(file.subarray(0, file.length / 2), () => response.destroy())
    })
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
    process.env.GOPROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
    process.env.GOSUMDB = 'off'
  })
  after(async () => {
    process.env = environment
    proxy.close()
    // Go keeps its modules read-only
    await $`chmod --recursive u+w ${cacheDir}`
    await rm(cacheDir, { recursive: true })
  })

  async function build(how: { version?: string; pausesMs: number[] }): Promise<{ folder: string; notes: string[] }> {
    asked = []
    const notes: string[] = []
    const folder = join(cacheDir, 'out')
    await mkdir(folder, { recursive: true })
    const note = (text: string) => void notes.push(text)
    await buildGoPrograms({ ...recipe, ...how }, folder, { cacheDir, note, quick: true, pausesMs: how.pausesMs })
    return { folder, notes }
  }

  it('is there although the network was lost half way: what had come in is not fetched again', async () => {
    cuts = 1
    const { folder, notes } = await build({ pausesMs: [1] })
    assert.ok(notes.includes('the network is lost; once more in 1 s'), notes.join('\n'))
    assert.equal((await $`${join(folder, 'hello')}`).stderr, 'hello')
    assert.deepEqual(
      ['.info', '.mod', '.zip'].map(end => asked.filter(name => name === `v1.0.0${end}`).length),
      [1, 1, 2],
    )
  })

  it('is not there when the network stays lost, which names the module', async () => {
    await assert.rejects(build({ version: 'v2.0.0', pausesMs: [] }), (error: PlatformError) => {
      assert.match(error.message, /^The Go module proxy\.test\/hello@v2\.0\.0 cannot be fetched$/)
      assert.match(error.why ?? '', /404/)
      return true
    })
  })

  it('is not tried again for what is no better a moment later', async () => {
    const failure = build({ version: 'v3.0.0', pausesMs: [60_000] })
    await assert.rejects(failure, /cannot be fetched/)
  })
})

/** A zip archive whose files are stored as they are. */
function zipOf(contents: Record<string, string>): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const [name, text] of Object.entries(contents)) {
    const data = Buffer.from(text)
    const fields = Buffer.alloc(26)
    fields.writeUInt16LE(20, 0)
    fields.writeUInt32LE(crc32(data), 10)
    fields.writeUInt32LE(data.length, 14)
    fields.writeUInt32LE(data.length, 18)
    fields.writeUInt16LE(name.length, 22)
    const place = Buffer.alloc(14)
    place.writeUInt32LE(offset, 10)
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), fields, Buffer.from(name), data])
    directory.push(Buffer.from('PK\x01\x02\x14\x00'), fields, place, Buffer.from(name))
    parts.push(local)
    offset += local.length
  }
  const list = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06')
  end.writeUInt16LE(parts.length, 8)
  end.writeUInt16LE(parts.length, 10)
  end.writeUInt32LE(list.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...parts, list, end])
}
