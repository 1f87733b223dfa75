import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Journal } from '../../../lib/journal/journal.ts'
import { clusterRoutes } from '../../../lib/platform/ingress-routes.ts'
import { ownerIn } from '../../../lib/platform/owner.ts'
import type { Route } from '../../../lib/platform/platform.ts'
import { aliasAddresses, ensureLoopbackAliases, renderAliases } from '../../../lib/routes/loopback.ts'
import { publishEngine, publishedPorts, routesOfContainers } from '../../../lib/routes/publish.ts'
import { routeOfSocat } from '../../../lib/routes/socat.ts'
import { bootUnits, routeOfUnit, routeUnits } from '../../../lib/routes/units.ts'
import { addressText } from '../../../lib/system/address.ts'
import { args } from '../../../lib/system/exec.ts'
import { values } from '../../helpers/env-arbitraries.ts'
import { countInputs } from '../../helpers/fault-table.ts'
import { them, us } from '../../helpers/owner.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { tries } from '../../helpers/property.ts'
import { socatCommand } from '../../helpers/route-commands.ts'
import { shellOf } from '../../helpers/shell.ts'

const route = (service: string, port: number, target = port, group = 'data'): Route => ({
  group,
  service,
  listen: { ip: '127.0.0.7', port },
  target: { ip: '172.23.0.31', port: target },
})
describe('a socat command', () => {
  it('listens on its address only, and tells which route it is', () => {
    const command = socatCommand(route('timescaledb', 5432))
    assert.equal(command[0], 'socat')
    assert.match(command[3]!, /^TCP4-LISTEN:5432,bind=127\.0\.0\.7,reuseaddr,fork,/)
    assert.match(command[3]!, /,max-children=1000,/)
    assert.match(command[4]!, /^TCP4:172\.23\.0\.31:5432,bind=172\.23\.0\.1,/)
    assert.deepEqual(routeOfSocat(command), { route: route('timescaledb', 5432), owner: us })
  })

  it('has no source address where the target is on this machine itself', () => {
    const ingress = { ...route('ingress', 80), target: { ip: '127.0.0.1', port: 8080 } }
    assert.match(socatCommand(ingress)[4]!, /^TCP4:127\.0\.0\.1:8080,connect-timeout/)
    assert.deepEqual(routeOfSocat(socatCommand(ingress, them)), { route: ingress, owner: them })
  })

  it("is not found in anybody else's socat", () => {
    assert.equal(routeOfSocat(['socat', 'TCP-LISTEN:80,bind=127.0.0.7,fork', 'TCP:172.23.0.31:80']), undefined)
    assert.equal(routeOfSocat(['vi', 'socat']), undefined)
  })
})

describe('publishing', async () => {
  const platform = await goodPlatform()

  it('gives each container the addresses of its routes, and the web server those of everything that is HTTP', () => {
    const ports = publishedPorts(platform)
    assert.equal(ports.grafana, undefined)
    assert.ok(ports.nginx?.includes('127.0.0.4:3000:3000'))
    assert.deepEqual(ports.tempo, ['127.0.0.6:4317:4317'])
    assert.deepEqual(ports.timescaledb, ['127.0.0.7:5432:5432'])
    assert.ok(ports.nginx?.includes('127.0.0.4:80:80') && ports.nginx.includes('127.0.0.8:80:80'))
    assert.equal(Object.values(ports).flat().length, platform.routes.length)
  })

  it('leaves routes that lead to no container to others', () => {
    const ingress = { ...route('ingress', 80), target: { ip: '127.0.0.1', port: 8080 } }
    assert.deepEqual(publishedPorts({ ...platform, routes: [ingress] }), {})
  })

  it('recognises routes in what containers publish beyond the catalogue', () => {
    const found = routesOfContainers(
      'macula-nginx\t127.0.0.1:80->80/tcp, 127.0.0.4:80->80/tcp, 127.0.0.4:3000->3000/tcp\nmacula-timescaledb\t127.0.0.7:5432->5432/tcp\nother\t127.0.0.5:80->80/tcp\n',
      platform,
    )
    assert.deepEqual(
      found,
      ['127.0.0.4:80', '127.0.0.4:3000', '127.0.0.7:5432'].map(address =>
        platform.routes.find(({ listen }) => addressText(listen) === address),
      ),
    )
    // Docker writes neighbouring ports as a range
    const range = routesOfContainers('macula-nginx\t127.0.0.8:9000-9001->9000-9001/tcp\n', platform)
    assert.deepEqual(
      range,
      platform.routes.filter(({ listen }) => [9000, 9001].includes(listen.port)),
    )
  })

  it('says who has to make and unmake such routes', async () => {
    const grafana = platform.routes.find(({ listen }) => listen.port === 3000)!
    const docker = (stdout: string) =>
      publishEngine(
        platform,
        shellOf(() => stdout),
      )
    await assert.rejects(docker('').apply([grafana]), {
      message: /does not publish 127\.0\.0\.4:3000/,
      hint: 'task start-infrastructure',
    })
    const published = docker('macula-nginx\t127.0.0.4:3000->3000/tcp\n')
    assert.deepEqual(await published.apply([grafana]), [{ route: grafana, outcome: 'unchanged' }])
    await assert.rejects(published.remove([grafana]), { message: /still publishes 127\.0\.0\.4:3000/ })
    assert.deepEqual(await docker('').remove([grafana]), [{ route: grafana, outcome: 'unchanged' }])
  })

  it('waits for a cluster that is still to be created, whose node publishes them itself', async () => {
    const noNode = publishEngine(
      platform,
      shellOf(command => (command.includes('--all') ? 'macula-nginx\t\n' : '')),
    )
    assert.deepEqual(
      (await noNode.apply(clusterRoutes(platform))).map(({ outcome }) => outcome),
      ['pending', 'pending'],
    )
    const stopped = publishEngine(
      platform,
      shellOf(command => (command.includes('--all') ? 'macula-control-plane\t\n' : '')),
    )
    await assert.rejects(stopped.apply(clusterRoutes(platform)), { message: /does not publish/ })
  })

  it('leaves the ways into the cluster to its node', async () => {
    const ways = clusterRoutes(platform)
    const docker = (stdout: string) =>
      publishEngine(
        platform,
        shellOf(() => stdout),
      )
    const ports = '127.0.0.1:8080->80/tcp, 127.0.0.2:80->80/tcp, 127.0.0.1:8443->443/tcp, 127.0.0.2:443->443/tcp'
    const node = docker(`macula-control-plane\t${ports}\n`)
    assert.deepEqual(await node.installed(), ways)
    assert.deepEqual(
      (await node.apply(ways)).map(({ outcome }) => outcome),
      ['unchanged', 'unchanged'],
    )
    await assert.rejects(docker('macula-control-plane\t127.0.0.1:8080->80/tcp\n').apply(ways), {
      message: "The cluster's node does not publish 127.0.0.2:80, 127.0.0.2:443",
      hint: 'task setup-cluster',
    })
    await assert.rejects(node.remove(ways), { hint: 'task setup-cluster -- --recreate' })
  })
})

describe('units of systemd', () => {
  const proxy = '/usr/lib/systemd/systemd-socket-proxyd'
  const boot = {
    root: '/home/a b/50% macula',
    owner: { id: '0123456789ab', stateDir: '/home/a b/50% macula/.macula' },
    environment: { COMPOSE_PROJECT_NAME: 'macula' },
    network: '172.23.0.0/16',
  }

  it('hold the address, forward to the target, and tell which route they are', async () => {
    const { socket, service } = await routeUnits(route('timescaledb', 5432), proxy, us)
    assert.equal(socket.name, 'macula-route-timescaledb-5432.socket')
    assert.match(socket.content, /^ListenStream=127\.0\.0\.7:5432$/m)
    assert.match(socket.content, /^WantedBy=macula\.target$/m)
    assert.match(service.content, /^Requires=macula-route-timescaledb-5432\.socket$/m)
    assert.match(
      service.content,
      /^ExecStart=\/usr\/lib\/systemd\/systemd-socket-proxyd --connections-max=4096 172\.23\.0\.31:5432$/m,
    )
    assert.match(service.content, /^IPAddressAllow=localhost 172\.23\.0\.0\/16$/m)
    // as /proc/net/route writes 172.23.0.0
    assert.match(service.content, /^ExecStartPre=\+-\/bin\/sh -c .* != 000017AC \]/m)
    assert.deepEqual(routeOfUnit(socket.content), route('timescaledb', 5432))
    assert.equal(routeOfUnit('[Socket]\nListenStream=80\n'), undefined)
  })

  it('start the containers of this checkout at boot, wherever it lies', async () => {
    const { target, stack, network } = await bootUnits(boot, '/bin/true')
    assert.match(target.content, /^Documentation=file:\/\/\/home\/a%%20b\/50%%25%%20macula\/README\.md$/m)
    assert.match(stack.content, /^WorkingDirectory=-\/home\/a b\/50%% macula\/\.macula$/m)
    assert.match(stack.content, /^Environment="COMPOSE_PROJECT_NAME=macula"$/m)
    assert.match(stack.content, /^After=docker\.service/m)
    assert.match(network.content, /^ExecStart=\/bin\/true route replace unreachable 172\.23\.0\.0\/16 /m)
  })

  it('start the containers from the first time that there are any, also where routes came first', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'macula-stack-'))
    const { stack } = await bootUnits({ ...boot, owner: { ...us, stateDir: folder } }, '/bin/true')
    // the unit starts, and so counts as started, where that folder is not there yet
    assert.match(stack.content, new RegExp(`^WorkingDirectory=-${folder}$`, 'm'))
    assert.doesNotMatch(stack.content, /^(Condition|Assert)/m)
    const script = /^ExecStart=\/bin\/sh -c '(.*)'$/m.exec(stack.content)?.[1]?.replaceAll('$$', '$')
    const docker = '#!/bin/sh\necho "$*" >>calls\ncase "$*" in *services) echo nginx ;; esac\n'
    await writeFile(join(folder, 'docker'), docker, { mode: 0o755 })
    const start = () =>
      spawnSync('/bin/sh', ['-c', script!], { cwd: folder, env: { PATH: `${folder}:${process.env.PATH}` } }).status
    const calls = () => readFile(join(folder, 'calls'), 'utf8').catch(() => '')
    assert.equal(start(), 0)
    assert.equal(await calls(), '', 'nothing was created yet')
    await writeFile(join(folder, 'docker-compose.yml'), '')
    assert.equal(start(), 0)
    assert.match(await calls(), /compose up --detach --no-build --pull never nginx/)
    await rm(folder, { recursive: true })
  })

  const verify = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' })
  it('are clean for systemd itself, and locked in', {
    skip: verify.status !== 0 && 'systemd-analyze is not installed',
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'macula-units-'))
    const units = [
      ...Object.values(await routeUnits(route('timescaledb', 5432), '/bin/true', us)),
      ...Object.values(
        await routeUnits({ ...route('ingress', 80), target: { ip: '127.0.0.1', port: 8080 } }, '/bin/true', us),
      ),
      ...Object.values(await bootUnits(boot, '/bin/true')),
      // what ours wait for; this machine need not have it
      { name: 'docker.service', content: '[Service]\nExecStart=/bin/true\n' },
    ]
    for (const { name, content } of units) await writeFile(join(folder, name), content)
    const files = units.map(({ name }) => join(folder, name))
    const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...files], {
      encoding: 'utf8',
    })
    // what it says of other units of this machine is not about ours
    const ours = (stdout + stderr).split('\n').filter(line => units.some(({ name }) => line.includes(name)))
    const services = files.filter(file => /\/macula-[^/]+\.service$/.test(file))
    const rated = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=25', ...services], {
      encoding: 'utf8',
    })
    await rm(folder, { recursive: true })
    assert.equal(services.length, 4)
    // before version 250 it can only rate units of a running system
    if (rated.stdout !== '') assert.equal(rated.status, 0, `exposed more than 2.5 of 10:\n${rated.stdout}`)
    assert.deepEqual(ours, [])
    assert.equal(status, 0, stderr)
  })

  it('are clean wherever the checkout lies and whatever its settings are', {
    skip: verify.status !== 0 && 'systemd-analyze is not installed',
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'macula-units-'))
    const name = values.filter(value => value !== '' && !value.includes('/') && !/^\.\.?$/.test(value))
    const counts = { tried: 0, refused: 0, exact: 0, crashed: 0 }
    const clean = fc.asyncProperty(name, values, async (name, value) => {
      counts.tried += 1
      const owner = { ...us, stateDir: `/srv/${name}` }
      const environment = { COMPOSE_PROJECT_NAME: 'macula', DOCKER_HOST: value }
      const units = [
        ...Object.values(await routeUnits(route('timescaledb', 5432), '/bin/true', owner)),
        ...Object.values(await bootUnits({ ...boot, root: owner.stateDir, owner, environment }, '/bin/true')),
        { name: 'docker.service', content: '[Service]\nExecStart=/bin/true\n' },
      ]
      for (const { name, content } of units) await writeFile(join(folder, name), content)
      const files = units.map(({ name }) => join(folder, name))
      const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...files], {
        encoding: 'utf8',
      })
      const said = (stdout + stderr).split('\n').filter(line => units.some(({ name }) => line.includes(name)))
      assert.deepEqual(said, [])
      assert.equal(status, 0, stderr)
      for (const { content } of units.slice(0, -1)) assert.equal(ownerIn(content)?.stateDir, owner.stateDir)
      counts.exact += 1
    })
    try {
      await fc.assert(clean, { ...tries(10), interruptAfterTimeLimit: 60_000 })
    } finally {
      countInputs('folder and settings in units of systemd', counts)
      await rm(folder, { recursive: true })
    }
  })
})

describe('loopback addresses of macOS', async () => {
  const platform = await goodPlatform()

  it('are all that something listens on, but the one that is there', () => {
    assert.deepEqual(
      aliasAddresses(platform),
      [2, 3, 4, 5, 6, 7, 8].map(last => `127.0.0.${last}`),
    )
  })

  it('are given by a job of launchd, again at each boot', async () => {
    const text = await renderAliases(us, ['127.0.0.2', '127.0.0.3'])
    assert.match(
      text,
      /<string>sh<\/string>\n {4}<string>127\.0\.0\.2<\/string>\n {4}<string>127\.0\.0\.3<\/string>\n {2}<\/array>/,
    )
    assert.match(text, /<key>RunAtLoad<\/key>\n {2}<true\/>/)
  })

  it('are put in place through the journal, and only there', async () => {
    const { calls, journal } = journalThatWrites('created')
    assert.equal(await ensureLoopbackAliases(platform, us, journal, { system: 'linux' }), 'unchanged')
    assert.deepEqual(calls, [])
    const given = { system: 'darwin', present: () => aliasAddresses(platform) }
    assert.equal(await ensureLoopbackAliases(platform, us, journal, given), 'created')
    assert.deepEqual(calls.slice(-3), [
      `after undo ${quietly} launchctl bootout system/org.macula.loopback`,
      'write /Library/LaunchDaemons/org.macula.loopback.plist',
      'launchctl bootstrap system /Library/LaunchDaemons/org.macula.loopback.plist',
    ])
    assert.equal(calls[0], `after undo ${quietly} ifconfig lo0 -alias 127.0.0.2`)
  })

  it('come also where an earlier run was broken off between the file and launchd', async () => {
    const { calls, journal } = journalThatWrites('unchanged')
    const given = { system: 'darwin', present: () => aliasAddresses(platform) }
    assert.equal(await ensureLoopbackAliases(platform, us, journal, given), 'unchanged')
    const [write] = calls.splice(-1)
    assert.match(write ?? '', /^write /)
    // launchctl returns before its job has run
    const without = {
      system: 'darwin',
      present: () =>
        calls.filter(call => call.startsWith('launchctl bootstrap')).length > 0 && ++looks > 20
          ? aliasAddresses(platform)
          : ['127.0.0.1', '127.0.0.2'],
    }
    let looks = 0
    assert.equal(await ensureLoopbackAliases(platform, us, journal, without), 'updated')
    assert.deepEqual(calls.slice(-2), [
      `${quietly} launchctl bootout system/org.macula.loopback`,
      'launchctl bootstrap system /Library/LaunchDaemons/org.macula.loopback.plist',
    ])
  })

  it('are looked for after launchctl: success without them is an error that names them', async () => {
    const { journal } = journalThatWrites('created')
    const given = { system: 'darwin', present: () => ['127.0.0.1', '127.0.0.2', '127.0.0.3'], timeoutMs: 300 }
    await assert.rejects(ensureLoopbackAliases(platform, us, journal, given), {
      message: 'lo0 has no address 127.0.0.4, 127.0.0.5, 127.0.0.6, 127.0.0.7, 127.0.0.8',
      hint: /launchctl print system\/org\.macula\.loopback/,
    })
  })

  it('are not looked for by a preview, which sets none', async () => {
    const { calls, journal } = journalThatWrites('created')
    const given = { system: 'darwin', present: () => [], timeoutMs: 300 }
    assert.equal(await ensureLoopbackAliases(platform, us, { ...journal, isDryRun: true }, given), 'created')
    assert.match(calls.at(-1) ?? '', /^launchctl bootstrap/)
  })

  const quietly = 'sh -c "$@" || true quietly'
  function journalThatWrites(outcome: string) {
    const calls: string[] = []
    const journal = {
      afterUndo: async (command: string[]) => void calls.push(`after undo ${command.join(' ')}`),
      writeFile: async (path: string) => {
        calls.push(`write ${path}`)
        return outcome
      },
      $: async (...template: Parameters<Journal['$']>) => void calls.push(args(...template).join(' ')),
    } as unknown as Journal
    return { calls, journal }
  }
})
