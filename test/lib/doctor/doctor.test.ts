import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ResolverFacts } from '../../../lib/dns/resolvers/facts.ts'
import { lookupFindings } from '../../../lib/doctor/dns.ts'
import { isOlder } from '../../../lib/doctor/engine.ts'
import { examine, type Finding, requireNoFailure } from '../../../lib/doctor/finding.ts'
import { firewalldFinding, ufwFindings } from '../../../lib/doctor/firewall.ts'
import { overlap, parseNetworks, parseRoutes, subnetCheck } from '../../../lib/doctor/network.ts'
import { addressStates, portsCheck } from '../../../lib/doctor/ports.ts'
import { diskFinding, memoryFinding } from '../../../lib/doctor/resources.ts'
import type { Route } from '../../../lib/platform/platform.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import type { Listener } from '../../../lib/system/ports.ts'
import { answering, only } from '../../helpers/findings.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { socatCommand } from '../../helpers/route-commands.ts'

describe('the check of ports', async () => {
  const platform = await goodPlatform()
  const at = (ip: string, port: number, changes: Partial<Listener> = {}): Listener => ({
    protocol: 'tcp',
    ip,
    port,
    ...changes,
  })
  const grafana = platform.routes.find(({ listen }) => listen.port === 3000)!
  const stateOf = async (table: readonly Listener[], ip: string, port: number, bind: 'free' | 'held' = 'held') =>
    (await addressStates(platform, table, [], async () => bind)).find(state => state.ip === ip && state.port === port)
      ?.state

  it('covers what is published, what is routed, and what the cluster takes', async () => {
    const states = await addressStates(platform, [], [])
    const addresses = states.map(({ ip, port, protocol }) => `${ip}:${port}/${protocol}`)
    for (const address of [
      '127.0.0.1:80/tcp',
      '127.0.0.1:5001/tcp',
      '127.0.0.4:3000/tcp',
      '127.0.0.8:80/tcp',
      '127.0.0.2:443/tcp',
      '127.0.0.2:4433/udp',
    ])
      assert.ok(addresses.includes(address), address)
    assert.equal(new Set(addresses).size, addresses.length)
    assert.ok(states.every(({ state }) => state === 'free'))
  })

  it('takes our own containers and routes for ours, and everyone else for taken', async () => {
    const nginx = { pid: 7, name: 'nginx', command: ['nginx'] }
    assert.equal(await stateOf([at('127.0.0.1', 80, { container: 'macula-nginx' })], '127.0.0.1', 80), 'ours')
    assert.equal(await stateOf([at('127.0.0.1', 80, { container: 'web' })], '127.0.0.1', 80), 'taken')
    assert.equal(await stateOf([at('127.0.0.1', 80, { process: nginx })], '127.0.0.1', 80), 'taken')
    const socat = { pid: 8, name: 'socat', command: socatCommand(grafana) }
    const held = async (process: Listener['process'], routes: readonly Route[]) =>
      (await addressStates(platform, [at('127.0.0.4', 3000, { process: process! })], routes)).find(
        ({ ip, port }) => ip === '127.0.0.4' && port === 3000,
      )?.state
    assert.equal(await held(socat, [grafana]), 'ours')
    assert.equal(await held({ ...nginx, pid: 1 }, [grafana]), 'ours')
    assert.equal(await held(socat, []), 'taken', 'a route of another installation is no route of ours')
  })

  it('finds that one listener on all addresses takes a port of each', async () => {
    const table = [at('0.0.0.0', 80, { process: { pid: 77, name: 'apache2', command: ['apache2'] } })]
    const findings = await portsCheck(() => addressStates(platform, table, [])).look()
    const taken = findings.filter(({ state }) => state === 'fail')
    assert.equal(taken.length, platform.routes.filter(({ listen }) => listen.port === 80).length + 1)
    // the rest of the platform works without the cluster
    assert.deepEqual(
      findings.filter(({ state }) => state === 'warn').map(({ check }) => check),
      ['127.0.0.2:80'],
    )
    assert.equal(taken[0]?.check, '127.0.0.1:80')
    assert.equal(taken[0]?.detail, 'nginx needs it; held by apache2 (pid 77), which listens on 0.0.0.0:80')
    assert.match(taken[0]?.hint ?? '', /kill 77/)
  })

  it('tries where only IPv6 is known to be taken', async () => {
    assert.equal(await stateOf([at('::', 80)], '127.0.0.1', 80, 'free'), 'free')
    assert.equal(await stateOf([at('::', 80)], '127.0.0.1', 80, 'held'), 'taken')
  })
})

describe('the check of the subnet', () => {
  const network = (Name: string, Subnet: string) => ({ Name, Id: 'abcdef0123456789', IPAM: { Config: [{ Subnet }] } })
  const look = async (...networks: unknown[]) =>
    subnetCheck(
      { settings: { MACULA_PROJECT: 'macula', MACULA_SUBNET: '172.23.0.0/16' } as never },
      answering({
        'docker network ls': { stdout: 'x\n' },
        'docker network inspect': { stdout: JSON.stringify(networks) },
      }),
      '/nowhere',
    )
      .look()
      .then(only)

  it('leaves our own network alone and names another one that overlaps, with a free one to take', async () => {
    assert.equal((await look(network('macula-infra', '172.23.0.0/16'))).state, 'ok')
    assert.equal((await look(network('lab', '10.1.0.0/16'), network('six', 'fd00::/64'))).state, 'ok')
    const clash = await look(network('lab', '172.23.7.0/24'), network('far', '10.100.0.0/16'))
    assert.equal(clash.detail, '172.23.0.0/16 overlaps with 172.23.7.0/24 (Docker network "lab")')
    assert.match(clash.hint ?? '', /^Set MACULA_SUBNET=10\.101\.0\.0\/16 in \.env$/)
  })

  it('reads routes, without the default one, our own bridge, and those that lead nowhere', () => {
    const text = `Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF
br-abcdef012345\t000017AC\t00000000\t0001\t0\t0\t0\t0000FFFF
tun0\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF
*\t000017AC\t00000000\t0201\t0\t0\t4294967295\t0000FFFF
`
    const { ownBridge } = parseNetworks(JSON.stringify([network('macula-infra', '172.23.0.0/16')]), 'macula-infra')
    assert.deepEqual(parseRoutes(text, ownBridge), [
      { subnet: '10.0.0.0/24', by: 'route on eth0' },
      { subnet: '172.16.0.0/12', by: 'route on tun0' },
    ])
  })

  it('knows overlaps of any lengths', () => {
    assert.ok(overlap('172.16.0.0/12', '172.23.0.0/16'))
    assert.ok(overlap('172.23.0.0/16', '172.23.255.128/25'))
    assert.ok(!overlap('172.22.0.0/16', '172.23.0.0/16'))
    assert.ok(!overlap('172.24.0.0/13', '172.23.0.0/16'))
  })
})

describe('other checks', () => {
  it('judges space and memory', () => {
    assert.deepEqual(
      [1e9, 5e9, 50e9].map(free => diskFinding(free, '/var/lib/docker').state),
      ['fail', 'warn', 'ok'],
    )
    assert.deepEqual(
      [1e9, 8e9].map(free => memoryFinding(free).state),
      ['warn', 'ok'],
    )
  })

  it('knows what multicast DNS and tunnels do to names', () => {
    const names = (lookupOrder: string, { routed = [] as string[], mdnsAllow = true } = {}) => {
      const links = routed.map(domain => ({ domain, link: 'tun0' }))
      const facts = { lookupOrder: lookupOrder.split(' '), resolved: { routed: links }, domain: 'macula.local' }
      return lookupFindings(facts as unknown as ResolverFacts, mdnsAllow).map(({ check }) => check)
    }
    assert.deepEqual(names('files mdns4_minimal [NOTFOUND=return] dns'), [])
    assert.deepEqual(names('files mdns4 dns'), ['mDNS'])
    assert.deepEqual(names('files mdns4 dns', { mdnsAllow: false }), [])
    assert.deepEqual(names('files dns mdns4'), [])
    assert.deepEqual(names('files dns', { routed: ['local'] }), ['Split DNS'])
    assert.deepEqual(names('files dns', { routed: ['corp.example', '.'] }), [])
  })

  it('knows which firewalls keep this machine from its containers, and what lets it through', () => {
    const ufw = (enabled: string, outgoing: string) =>
      ufwFindings(`ENABLED=${enabled}\n`, `DEFAULT_OUTPUT_POLICY="${outgoing}"\n`, '10.9.0.0/16')
    assert.deepEqual(ufw('no', 'DROP'), [])
    assert.equal(ufw('yes', 'ACCEPT')[0]?.state, 'ok')
    assert.equal(ufw('yes', 'DROP')[0]?.state, 'warn')
    assert.equal(ufw('yes', 'REJECT')[0]?.hint, 'sudo ufw allow out to 10.9.0.0/16')
    assert.equal(firewalldFinding('28.3.3').state, 'ok')
    assert.equal(firewalldFinding('26.1.5+dfsg1').state, 'warn')
    assert.equal(firewalldFinding(undefined).state, 'warn')
  })
})

describe('an examination', () => {
  it('goes on where one check throws or hangs', async () => {
    const findings = await examine(
      [
        {
          name: 'broken',
          look: () => Promise.reject(new PlatformError('It is broken', { why: 'first\nlast words', hint: 'mend it' })),
        },
        { name: 'hanging', look: () => new Promise(() => {}) },
        { name: 'fine', look: async () => [{ check: 'fine', state: 'ok', detail: '' }] },
      ],
      50,
    )
    assert.deepEqual(findings, [
      { check: 'broken', state: 'fail', detail: 'It is broken (last words)', hint: 'mend it' },
      { check: 'hanging', state: 'fail', detail: 'no answer within 0.05 s' },
      { check: 'fine', state: 'ok', detail: '' },
    ])
  })

  it('stops a step with all that is in its way', () => {
    const finding = (check: string, state: Finding['state']): Finding => ({
      check,
      state,
      detail: 'is so',
      hint: `mend ${check}`,
    })
    requireNoFailure([finding('a', 'ok'), finding('b', 'warn')])
    assert.throws(() => requireNoFailure([finding('a', 'fail'), finding('b', 'warn')]), {
      message: 'a: is so',
      hint: 'mend a',
    })
    assert.throws(() => requireNoFailure([finding('a', 'fail'), finding('b', 'fail')]), {
      why: 'a: is so\nb: is so',
      hint: 'mend a\nmend b',
    })
  })

  it('compares versions number by number', () => {
    assert.ok(isOlder('9.10.0', [25]))
    assert.ok(isOlder('28.3.2', [28, 3, 3]))
    assert.ok(!isOlder('28.3.3', [28, 3, 3]))
    assert.ok(!isOlder('29', [28, 3, 3]))
    assert.ok(!isOlder('v29.0.0-rc.1', [28, 3, 3]))
  })
})
