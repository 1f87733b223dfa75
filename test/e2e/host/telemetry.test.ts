import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { pathsOf } from '../../../lib/platform/settings.ts'
import { ensureBuilt } from '../../../lib/supply/cache.ts'
import { buildGoFolder } from '../../../lib/supply/go.ts'
import { root } from '../../../lib/system/checkout.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { $ } from '../../../lib/system/exec.ts'
import { acceptsConnections } from '../../../lib/system/tcp.ts'
import { NotYet, waitFor } from '../../../lib/system/wait.ts'
import { newerNode } from '../../helpers/newer-node.ts'
import { receiveTelemetry } from '../../helpers/otlp-receiver.mjs'
import { freePort } from '../../helpers/sockets.ts'

const text = await readFile(join(root, 'docs/telemetry.md'), 'utf8')
/** The examples of docs/telemetry.md, file name → content. */
const examples = Object.fromEntries(
  [...text.matchAll(/^```(?:ts|go)\n(\/\/ ([\w.]+): [\s\S]*?)^```/gm)].map(([, content = '', name = '']) => [
    name,
    content,
  ]),
)
/** The packages that a command of docs/telemetry.md installs. */
const packagesOf = (command: string) =>
  new RegExp(`^${command} (.+)$`, 'm').exec(text)?.[1]?.split(' ') ?? assert.fail(`no ${command}`)
const node = await newerNode()

describe('the examples of docs/telemetry.md', { timeout: 900_000 }, () => {
  let folder: string
  const programs: ChildProcess[] = []
  let tempo: Awaited<ReturnType<typeof receiveTelemetry>>
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-telemetry-'))
    tempo = await receiveTelemetry()
  })
  after(async () => {
    for (const program of programs) program.kill('SIGKILL')
    await tempo?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  async function written(language: string, names: readonly string[]): Promise<string> {
    const source = join(folder, language)
    await mkdir(source)
    for (const name of names) await writeFile(join(source, name), examples[name] ?? assert.fail(`no ${name}`))
    return source
  }

  /** Starts one example twice, of which the first asks the second, and looks at what becomes of a request. */
  async function makesOneTrace(cwd: string, words: readonly string[]): Promise<void> {
    const [program = '', ...args] = words
    const start = async (service: string, next: string) => {
      const port = await freePort()
      const env = {
        ...{ PATH: process.env.PATH, PORT: String(port), NEXT: next, OTEL_SERVICE_NAME: service },
        ...{ OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' },
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${tempo.port}`,
      }
      const running = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] })
      programs.push(running)
      const lines: { trace_id: string; span_id: string; request_id: string }[] = []
      createInterface(running.stdout).on('line', line => lines.push(JSON.parse(line)))
      const listens = async () => (await acceptsConnections({ ip: '127.0.0.1', port }, 1000)) || new NotYet('not yet')
      await waitFor(listens, { timeoutMs: 30_000, onTimeout: () => new PlatformError(`${words.join(' ')}: silent`) })
      return { running, lines, url: `http://127.0.0.1:${port}` }
    }
    const second = await start('second', '')
    const first = await start('first', `${second.url}/next`)
    const answer = await fetch(`${first.url}/`, { headers: { 'x-request-id': 'mine' } })
    assert.equal(await answer.text(), 'hello\n')
    // what ends a program sends its last spans
    for (const { running } of [first, second]) {
      running.kill('SIGTERM')
      await once(running, 'exit')
    }
    const spans = tempo.spans.splice(0)
    const named = (service: string, kind: string) =>
      spans.find(span => span.service === service && span.kind === kind) ?? assert.fail(`no ${kind} of ${service}`)
    const [asked, call, next] = [named('first', 'server'), named('first', 'client'), named('second', 'server')]
    assert.equal(spans.length, 3)
    assert.deepEqual([call.traceId, next.traceId], [asked.traceId, asked.traceId])
    assert.deepEqual([call.parentSpanId, next.parentSpanId], [asked.spanId, call.spanId])
    assert.deepEqual(asked.attributes['http.request.header.x-request-id'], ['mine'])
    const [line] = first.lines
    assert.deepEqual([line?.trace_id, line?.span_id, line?.request_id], [asked.traceId, asked.spanId, 'mine'])
    assert.deepEqual([second.lines[0]?.trace_id, second.lines[0]?.span_id], [next.traceId, next.spanId])
  }

  it('in TypeScript makes one trace of a request and the call it makes, with its ids in the log', {
    skip: node.skip,
  }, async () => {
    const source = await written('ts', ['telemetry.ts', 'server.ts'])
    await writeFile(join(source, 'package.json'), '{ "type": "module", "private": true }')
    await $({
      cwd: source,
      idle: '60s',
    })`npm install --no-audit --no-fund --ignore-scripts ${packagesOf('npm install')}`
    await makesOneTrace(source, [join(node.folder, 'node'), '--import', './telemetry.ts', 'server.ts'])
  })

  it('in Go does so, too', async () => {
    const source = await written('go', ['telemetry.go', 'main.go'])
    const modules = packagesOf('go get').map(name => `\t${name.replace('@', ' ')}\n`)
    await writeFile(join(source, 'go.mod'), `module example\n\ngo 1.25.0\n\nrequire (\n${modules.join('')})\n`)
    const options = { cacheDir: pathsOf().cacheDir }
    const built = await ensureBuilt(
      {
        name: 'telemetry-example',
        inputs: JSON.stringify([examples['telemetry.go'], examples['main.go'], modules]),
        build: (to, note) => buildGoFolder(source, 'example', to, { ...options, note, quick: true }),
      },
      options,
    )
    await makesOneTrace(source, [join(built, 'example')])
  })
})
