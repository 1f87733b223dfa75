import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { after, describe, it } from 'node:test'
import {
  describeHolder,
  hintToFree,
  holdersOf,
  type Listener,
  listeners,
  parseContainers,
  parseLsof,
  parseProcNet,
  tryBind,
} from '../../../lib/system/ports.ts'
import { shellOf } from '../../helpers/shell.ts'

const listener = (changes: Partial<Listener> = {}): Listener => ({
  protocol: 'tcp',
  ip: '127.0.0.3',
  port: 80,
  ...changes,
})

describe('the table of listeners', () => {
  const servers: Server[] = []
  after(() => {
    for (const server of servers) server.close()
  })

  const listening = (ip: string) =>
    new Promise<number>(resolve => {
      const server = createServer()
      servers.push(server)
      server.listen({ host: ip, port: 0 }, () => resolve((server.address() as { port: number }).port))
    })

  it('names this very process as the holder of a port it listens on', {
    skip: process.platform !== 'linux',
  }, async () => {
    const port = await listening('127.0.0.7')
    const [holder] = holdersOf({ ip: '127.0.0.7', port }, await listeners())
    assert.equal(holder?.process?.pid, process.pid)
    assert.deepEqual(holder?.process?.command.slice(1, 1 + process.execArgv.length), process.execArgv)
  })

  it('tells a held port from a free one by listening on it', async () => {
    const port = await listening('127.0.0.7')
    assert.equal(await tryBind({ ip: '127.0.0.7', port }), 'held')
    assert.equal(await tryBind({ ip: '127.0.0.8', port }), 'free')
  })

  it('works where Docker does not answer', async () => {
    const port = await listening('127.0.0.7')
    const table = await listeners(shellOf(() => ({ exitCode: 1, stderr: 'no docker' })))
    assert.equal(holdersOf({ ip: '127.0.0.7', port }, table).length, 1)
  })

  it('counts whoever listens on all addresses as a holder, another address or protocol not', () => {
    const table = [
      listener({ ip: '0.0.0.0' }),
      listener({ ip: '::' }),
      listener({ ip: '127.0.0.4' }),
      listener({ protocol: 'udp' }),
      listener({ port: 81 }),
    ]
    assert.deepEqual(holdersOf({ ip: '127.0.0.3', port: 80 }, table), table.slice(0, 2))
  })
})

describe('reading what the kernel and tools print', () => {
  it('reads listening sockets of /proc/net/tcp, and no others', () => {
    const text = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0300007F:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:8F22 0100007F:2382 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
`
    assert.deepEqual(parseProcNet(text, 'tcp'), [
      { protocol: 'tcp', ip: '127.0.0.3', port: 9090, uid: 998, inode: '4711' },
    ])
  })

  it('reads IPv6 addresses: all, loopback, mapped IPv4', () => {
    const line = (address: string) => `0: ${address}:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1`
    const ips = [
      '00000000000000000000000000000000',
      '00000000000000000000000001000000',
      '0000000000000000FFFF00000300007F',
      'B80D0120000000000000000001000000',
    ].map(address => parseProcNet(`header\n${line(address)}`, 'tcp')[0]?.ip)
    assert.deepEqual(ips, ['::', '::1', '127.0.0.3', '2001:db8::1'])
  })

  it('reads what lsof prints on macOS', () => {
    const text =
      'p501\ncnginx\nu0\nf6\nPTCP\nn*:80\nf7\nPTCP\nn127.0.0.1:8080\np77\ncmDNSResponder\nu65\nf4\nPUDP\nn[::1]:5353\n'
    assert.deepEqual(
      parseLsof(text).map(({ protocol, ip, port, process }) => [protocol, ip, port, process?.name, process?.pid]),
      [
        ['tcp', '0.0.0.0', 80, 'nginx', 501],
        ['tcp', '127.0.0.1', 8080, 'nginx', 501],
        ['udp', '::1', 5353, 'mDNSResponder', 77],
      ],
    )
  })

  it('reads published ports of containers, ranges included', () => {
    const [web, lab] = parseContainers(
      'abc\tweb\t127.0.0.1:80->80/tcp, [::1]:80->80/tcp\ndef\tlab\t0.0.0.0:9000-9001->9000-9001/tcp, 53/udp\n',
    )
    assert.deepEqual([...web!.published], ['127.0.0.1:80/tcp', '::1:80/tcp'])
    assert.deepEqual([...lab!.published], ['0.0.0.0:9000/tcp', '0.0.0.0:9001/tcp'])
  })
})

describe('a holder in words', () => {
  const nginx = { pid: 77, name: 'nginx', command: ['nginx'] }

  it('says the program and pid, and the container where there is one', () => {
    assert.equal(describeHolder(listener({ process: nginx })), 'nginx (pid 77)')
    assert.equal(
      describeHolder(listener({ container: 'web', process: { ...nginx, name: 'docker-proxy' } })),
      'container "web" (docker-proxy, pid 77)',
    )
    assert.equal(describeHolder(listener({ container: 'web' })), 'container "web"')
    assert.equal(describeHolder(listener({ uid: 0 })), 'a process of user 0, which this user cannot see')
  })

  it('says how to free the port, or how to find out', () => {
    assert.equal(hintToFree(listener({ container: 'web', process: nginx })), 'docker stop web')
    assert.match(hintToFree(listener({ process: nginx })), /kill 77$/)
    assert.match(hintToFree(listener({ uid: 0 })), /^sudo ss /)
    assert.match(hintToFree(listener({ process: { ...nginx, pid: 1, name: 'systemd' } })), /list-sockets/)
  })
})
