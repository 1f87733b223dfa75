import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { stringify } from 'yaml'
import type { PublishedPort } from '../../../lib/platform/compose-file.ts'
import type { MergedService } from '../../../lib/platform/merge.ts'
import { type Published, publishedPorts } from '../../../lib/platform/published.ts'
import type { Problem } from '../../../lib/system/errors.ts'
import { composeProgram, runCompose } from '../../helpers/compose.ts'
import { tries, tryInputs } from '../../helpers/property.ts'

type Port = string | number | PublishedPort

function read(port: Port): { published: Published[]; problems: Problem[] } {
  const problems: Problem[] = []
  const ports = [{ port, where: 'local.yml:3' }]
  return { published: publishedPorts({ ports } as unknown as MergedService, problems), problems }
}

const number = fc.oneof(fc.integer({ min: 1, max: 65535 }), fc.constantFrom(0, 80, 65536, 99999)).map(String)
const range = fc
  .tuple(fc.integer({ min: 1, max: 65500 }), fc.integer({ min: 0, max: 5 }))
  .map(([from, more]) => `${from}-${from + more}`)
const numbers = fc.oneof(
  { weight: 4, arbitrary: number },
  { weight: 2, arbitrary: range },
  fc.constantFrom('', '5-1', 'x', '1-2-3'),
)
const address = fc.constantFrom(
  '127.0.0.9',
  '127.0.0.1',
  '127.255.255.254',
  '0.0.0.0',
  '10.0.0.1',
  '127.0.0.299',
  '127.1',
  '::1',
  '[::1]',
  '',
  'localhost',
)
const protocol = fc.constantFrom('', '/tcp', '/udp', '/TCP', '/sctp', '/x')
const short = fc
  .tuple(fc.option(address), fc.option(numbers), numbers, protocol)
  .map(([ip, host, container, protocol]) =>
    [ip, host, `${container}${protocol}`].filter(part => part !== null).join(':'),
  )
const long: fc.Arbitrary<PublishedPort> = fc.record(
  {
    target: fc.oneof(number, number.map(Number)),
    published: fc.oneof(numbers, number.map(Number)),
    host_ip: address,
    protocol: fc.constantFrom('tcp', 'udp'),
  },
  { requiredKeys: ['target'] },
)
const sameRange = fc
  .tuple(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 0, max: 4 }))
  .map(([host, container, more]) => `127.0.0.9:${host}-${host + more}:${container}-${container + more}`)
const ports: fc.Arbitrary<Port> = fc.oneof(short, long, sameRange, fc.integer({ min: 0, max: 70_000 }))

describe('a published port', () => {
  for (const [port, expected] of [
    ['8081:8081', /would listen outside this machine; write it with a loopback address, like "127\.0\.0\.9:8080:80"/],
    ['80', /would listen outside this machine/],
    [80, /would listen outside this machine/],
    ['0.0.0.0:80:80', /would listen outside this machine/],
    [{ target: 80, published: '8080' }, /would listen outside this machine/],
    ['[::1]:8080:80', /has an IPv6 address; the platform is IPv4 only/],
    ['127.0.0.9::80', /has no fixed port on this machine/],
    [{ target: 80, host_ip: '127.0.0.9' }, /has no fixed port on this machine/],
    ['127.0.0.299:80:80', /has no valid address: 127\.0\.0\.299/],
    ['127.0.0.9:99999:80', /ports from 1 to 65535/],
    ['127.0.0.9:80-82:80-81', /has 3 ports on this machine for 2 of the container/],
    ['nonsense', /should be like "127\.0\.0\.9:8080:80"/],
  ] as const)
    it(`is refused with its place: ${JSON.stringify(port)}`, () => {
      const { published, problems } = read(port)
      assert.deepEqual(published, [])
      assert.equal(problems[0]?.where, 'local.yml:3')
      assert.match(problems[0]?.what ?? '', expected)
    })

  it('may be a range, which counts as all of its ports', () => {
    assert.deepEqual(
      read('127.0.0.9:9000-9001:90-91/udp').published,
      [9000, 9001].map((hostPort, index) => ({
        ip: '127.0.0.9',
        hostPort,
        containerPort: 90 + index,
        protocol: 'udp',
      })),
    )
    assert.deepEqual(
      read('127.0.0.9:7000-7002:70').published.map(({ hostPort }) => hostPort),
      [7000, 7001, 7002],
    )
  })

  it('is the one that Compose publishes, or refused', async context => {
    const { command, skip } = await composeProgram()
    if (skip !== false) return context.skip(skip)
    const sample = fc.sample(ports, { ...tries(500), seed: 3 })
    const accepted = sample.filter(port => read(port).problems.length === 0)
    const folder = await mkdtemp(join(tmpdir(), 'macula-ports-'))
    try {
      const services = Object.fromEntries(accepted.map((port, index) => [`s${index}`, { image: 'a', ports: [port] }]))
      await writeFile(join(folder, 'compose.yml'), stringify({ services }))
      const { stdout, stderr } = runCompose(command, ['-f', 'compose.yml', 'config', '--format', 'json'], { folder })
      const described = JSON.parse(stdout || '{}').services
      assert.ok(described, stderr)
      tryInputs('published port', fc.constantFrom(...sample), 500, port => {
        const { published, problems } = read(port)
        if (problems.length > 0) return 'refused'
        assert.deepEqual(
          inOrder(published),
          asComposeHasThem(described[`s${accepted.indexOf(port)}`].ports),
          JSON.stringify(port),
        )
        return 'exact'
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

/** The ports of `docker compose config`, in which a range that Docker chooses from is one entry. */
function asComposeHasThem(
  ports: { host_ip: string; published: string; target: number; protocol: string }[],
): Published[] {
  const all = ports.flatMap(({ host_ip, published, target, protocol }) => {
    if (protocol !== 'tcp' && protocol !== 'udp') return []
    const [first = 0, last = first] = published.split('-').map(Number)
    return Array.from({ length: last - first + 1 }, (_, index) => ({
      ip: host_ip,
      hostPort: first + index,
      containerPort: target,
      protocol: protocol as 'tcp' | 'udp',
    }))
  })
  return inOrder(all)
}

function inOrder(ports: readonly Published[]): Published[] {
  return [...ports].sort((one, other) => one.hostPort - other.hostPort)
}
