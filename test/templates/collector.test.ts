import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse, stringify } from 'yaml'
import { PlatformError } from '../../lib/system/errors.ts'
import { NotYet, waitFor } from '../../lib/system/wait.ts'
import { contentOf, renderExample } from '../helpers/example.ts'
import { type Line, receiveTelemetry } from '../helpers/otlp-receiver.mjs'
import { freePort } from '../helpers/sockets.ts'
import { builtValidator } from '../helpers/validators.ts'

const collector = await builtValidator('collector', 'collector')

describe('the collector with our configuration', { skip: collector.skip }, () => {
  let folder: string
  let config: string
  let receiver: Awaited<ReturnType<typeof receiveTelemetry>>
  let program: ChildProcess
  /** All that came, over restarts of the receiver. */
  const received: Line[] = []

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-collector-'))
    receiver = await receive(0)
    config = await configFor(folder, receiver.port)
    program = start(config)
  })
  after(async () => {
    await stop(program)
    await receiver.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const receive = (port: number) => receiveTelemetry({ port, onLine: line => received.push(line) })
  const bodiesOf = (service: string) => received.filter(line => line.service === service).map(({ body }) => body)
  /** Waits until a service's last line is this one, then a moment longer for what should not come. */
  const settled = async (service: string, last: string) => {
    await waitFor(() => bodiesOf(service).includes(last) || new NotYet(`${bodiesOf(service).length} lines`), {
      timeoutMs: 40_000,
      onTimeout: seen => new PlatformError(`${last} of ${service} did not come: ${seen}`),
    })
    await new Promise(resolve => setTimeout(resolve, 1500))
    return bodiesOf(service)
  }
  const print = (service: string | undefined, ...parts: string[]) => writeLog(folder, service, parts)

  it("sends each line of the platform's containers once, under the name of its service", async () => {
    await print('registry', 'one\n', 'two\r\n', '\n', 'four "quoted" \u00e9\u4e2d\n')
    await print('talker', 'a line of the talker\n')
    assert.deepEqual(await settled('registry', 'four "quoted" \u00e9\u4e2d'), [
      'one',
      'two',
      '',
      'four "quoted" \u00e9\u4e2d',
    ])
    assert.deepEqual(await settled('talker', 'a line of the talker'), ['a line of the talker'])
  })

  it('gives each line the time at which the container printed it', () => {
    const [line] = received
    assert.equal(line?.time, '1795694400123456789')
  })

  it("keeps other people's containers and its own lines to itself", async () => {
    await print(undefined, 'a line of somebody else\n')
    await print('collector', 'a line of its own\n')
    await print('talker', 'after them\n')
    await settled('talker', 'after them')
    assert.deepEqual(
      received.filter(({ body }) => /somebody else|its own/.test(body)),
      [],
    )
  })

  it('joins a long line that Docker has cut into parts', async () => {
    const long = 'x'.repeat(40_000)
    await print('loki', long.slice(0, 16_384), long.slice(16_384, 32_768), `${long.slice(32_768)}\n`, 'short\n')
    assert.deepEqual(await settled('loki', 'short'), [long, 'short'])
  })

  it('neither loses nor repeats a line over a restart of its own', async () => {
    await print('nginx', 'before\n')
    await settled('nginx', 'before')
    await stop(program)
    await print('nginx', 'meanwhile\n')
    program = start(config)
    await print('nginx', 'afterwards\n')
    assert.deepEqual(await settled('nginx', 'afterwards'), ['before', 'meanwhile', 'afterwards'])
  })

  it('keeps lines while Loki is away, and sends each of them once when it is back', async () => {
    const { port } = receiver
    await receiver.stop()
    await print('prometheus', ...Array.from({ length: 50 }, (_, index) => `while away ${index}\n`))
    // long enough for the first attempts to fail
    await new Promise(resolve => setTimeout(resolve, 2500))
    receiver = await receive(port)
    await print('prometheus', 'back\n')
    const bodies = await settled('prometheus', 'while away 49')
    assert.deepEqual(bodies.filter(body => body !== 'back').sort(), bodiesOfAway().sort())
    assert.deepEqual(
      bodies.filter(body => body === 'back'),
      ['back'],
    )
  })

  const bodiesOfAway = () => Array.from({ length: 50 }, (_, index) => `while away ${index}`)
})

/** The rendered configuration, with files and addresses of this test in the place of the container's. */
async function configFor(folder: string, port: number): Promise<string> {
  const config = parse(contentOf(await renderExample(), 'config/collector/collector.yml'))
  config.receivers.file_log.include = [join(folder, 'containers/*/*-json.log')]
  config.extensions.file_storage.directory = join(folder, 'state')
  config.extensions.health_check.endpoint = `127.0.0.1:${await freePort()}`
  // there is no Prometheus here to take them
  delete config.service.pipelines.metrics
  config.exporters['otlp_http/loki'].endpoint = `http://127.0.0.1:${port}/otlp`
  const [reader] = config.service.telemetry.metrics.readers
  Object.assign(reader.pull.exporter.prometheus, { host: '127.0.0.1', port: await freePort() })
  const file = join(folder, 'collector.yml')
  // quoted: Go's YAML would take the layout of a time for a time
  await writeFile(file, stringify(config, { defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN' }))
  return file
}

function start(config: string): ChildProcess {
  return spawn(collector.program, ['--config', config], { stdio: ['ignore', 'ignore', 'inherit'] })
}

async function stop(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null) return
  const gone = once(program, 'exit')
  program.kill('SIGTERM')
  await gone
}

/** Writes as Docker's json-file driver does: one object per part of a line, which ends with \n where the line does. */
async function writeLog(folder: string, service: string | undefined, parts: readonly string[]): Promise<void> {
  const container = join(folder, 'containers', service ?? 'foreign')
  await mkdir(container, { recursive: true })
  const attrs = service === undefined ? {} : { attrs: { 'com.docker.compose.service': service } }
  const lines = parts.map(log =>
    JSON.stringify({ log, stream: 'stdout', ...attrs, time: '2026-11-26T12:00:00.123456789Z' }),
  )
  await appendFile(join(container, 'log-json.log'), lines.map(line => `${line}\n`).join(''))
}
