import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { unitName } from '../../../lib/routes/units.ts'
import { addressText } from '../../../lib/system/address.ts'
import { type Machine, startMachine } from '../../helpers/machine.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { noMachines } from '../../helpers/requirements.ts'
import { succeeds } from '../../helpers/resolver-tests.ts'
import { differences, type Snapshot, snapshotOf } from '../../helpers/snapshot.ts'
import { installTargets, requestBesideIdle, requestFrom, streamRequests, targetsUnit } from '../../helpers/targets.ts'

const platform = await goodPlatform()
const routes = platform.routes.filter(({ group }) => group === 'observability' || group === 'data')
const grafana = routes.find(({ service, listen }) => service === 'grafana' && listen.port === 3000)!

describe('routes on a machine with systemd', { skip: await noMachines() }, () => {
  let machine: Machine
  let untouched: Snapshot
  const setUp = async () =>
    (await succeeds(machine, 'setup-observability-routing')) + (await succeeds(machine, 'setup-data-routing'))
  const allAnswer = async () => {
    const answers = await machine.sh(
      'for address in "$@"; do echo "$address $(curl -s --max-time 5 http://$address/)"; done',
      ...routes.map(({ listen }) => addressText(listen)),
    )
    assert.equal(
      answers,
      routes.map(({ listen, target }) => `${addressText(listen)} ${addressText(target)}`).join('\n'),
    )
  }
  const units = () => machine.sh('ls /etc/systemd/system')
  const restart = (action: string) => machine.sh('systemctl "$1" "$2"', action, targetsUnit)

  before(async () => {
    machine = await startMachine('resolved', line => console.error(line))
    await succeeds(machine, 'configure', '--yes')
    await installTargets(machine, routes)
    untouched = await snapshotOf(machine)
  })
  after(() => machine?.end())

  test('all lead to their targets, by units that systemd has nothing to say against', async () => {
    await setUp()
    await allAnswer()
    const verified = await machine.sh('systemd-analyze verify /etc/systemd/system/macula*.{target,socket,service} 2>&1')
    assert.equal(verified, '')
  })

  test('read as the platform, and are locked in', async () => {
    assert.equal(
      await machine.sh('systemctl list-dependencies --plain macula.target'),
      ['macula.target', '  macula-network.service', ...routes.map(route => `  ${unitName(route)}.socket`).sort()].join(
        '\n',
      ),
    )
    const exposed = await machine.sh(
      'systemd-analyze security --no-pager "$@" | awk \'/Overall exposure/ { print $(NF-2) }\'',
      `${unitName(grafana)}.service`,
    )
    assert.ok(Number(exposed) < 2.5, `exposure ${exposed}`)
  })

  test('are left alone by a second run', async () => {
    const first = await snapshotOf(machine)
    assert.match(await setUp(), /Nothing to do.*Nothing to do/s)
    assert.equal(differences(first, await snapshotOf(machine)).join('\n'), '')
  })

  test('are named and left alone by another installation, which has nothing to take back', async () => {
    const first = await snapshotOf(machine)
    const env = { MACULA_STATE_DIR: '/opt/other/.macula' }
    const other = (...words: string[]) => machine.ask(['node', 'lib/cli/launch.mjs', ...words], { env })
    for (const words of [['--yes'], ['--adopt', '--yes'], ['--dry-run']])
      for (const name of ['setup-observability-routing', 'setup-data-routing']) {
        const { exitCode, stderr } = await other(name, ...words)
        assert.equal(exitCode, 1, stderr)
        assert.match(stderr, /Another installation of the platform, in \/opt\/macula\/\.macula, has/)
        assert.match(stderr, /task teardown, in the checkout whose state folder is \/opt\/macula\/\.macula/)
      }
    for (const words of [
      ['setup-data-routing', '--remove'],
      ['teardown', '--yes'],
    ])
      assert.equal((await other(...words)).exitCode, 0, words.join(' '))
    await machine.sh('rm -rf /opt/other')
    assert.equal(differences(first, await snapshotOf(machine)).join('\n'), '')
  })

  test('listen on loopback addresses only', async () => {
    const listens = [...(await snapshotOf(machine)).keys()].filter(thing => /^listens tcp/.test(thing))
    const added = listens.filter(thing => !untouched.has(thing))
    assert.equal(added.length, routes.length)
    for (const thing of added) assert.match(thing, /^listens tcp 127\.0\.0\.[3-8]:\d+$/)
  })

  test('heal within 2 s from a killed forwarder, and never refuse a connection', async () => {
    const address = addressText(grafana.listen)
    const kill = machine.sh(
      `for round in 1 2 3 4; do
         sleep 1.2
         pid=$(systemctl show --property=MainPID --value "$1")
         [ "$pid" = 0 ] || { kill -9 "$pid" && echo killed; }
       done`,
      `${unitName(grafana)}.service`,
    )
    const stream = await streamRequests(machine, address, 7)
    assert.equal(await kill, 'killed\nkilled\nkilled\nkilled')
    assert.equal(stream.refused, 0, JSON.stringify(stream))
    assert.ok(stream.longestGapMs < 2000, JSON.stringify(stream))
    assert.ok(stream.answered > 200, JSON.stringify(stream))
    console.error(`four forwarders killed: ${JSON.stringify(stream)}`)
  })

  test('break off at once where the target does not run, and lead there again when it does', async () => {
    await restart('stop')
    // the container's address is still there, and nothing listens at it
    const refused = await requestFrom(machine, addressText(grafana.listen))
    assert.equal(refused.body, undefined)
    assert.ok(refused.milliseconds < 500, JSON.stringify(refused))
    // nobody has the address any more: left to itself, the kernel asks for it for three seconds
    await machine.sh('ip address delete "$1/16" dev containers', grafana.target.ip)
    const unreachable = await requestFrom(machine, addressText(grafana.listen))
    assert.equal(unreachable.body, undefined)
    assert.ok(unreachable.milliseconds < 1000, JSON.stringify(unreachable))
    // the network itself is gone, as after `docker compose down`
    await machine.sh('ip link delete containers')
    const sent = () => machine.sh('cat /sys/class/net/eth0/statistics/tx_packets')
    const before = await sent()
    const gone = await Promise.all(routes.map(({ listen }) => requestFrom(machine, addressText(listen))))
    assert.equal(await sent(), before, 'connections left the machine')
    for (const answer of gone) {
      assert.equal(answer.body, undefined)
      assert.ok(answer.milliseconds < 1000, JSON.stringify(gone))
    }
    await restart('start')
    await allAnswer()
  })

  test('take new connections beside 500 idle ones', async () => {
    const answer = await requestBesideIdle(machine, addressText(grafana.listen), 500)
    assert.equal(answer.open, 500)
    assert.equal(answer.body, addressText(grafana.target))
    assert.ok(answer.milliseconds < 1000, JSON.stringify(answer))
  })

  test('are all there after a reboot', async () => {
    await machine.reboot()
    await allAnswer()
  })

  test('move to another engine and back, and nothing of the old one stays', async () => {
    const withSystemd = await snapshotOf(machine)
    await machine.sh(
      'cp .env .env.systemd; echo ROUTING=socat >>.env; sed -i "0,/^ROUTING=auto/{/^ROUTING=auto/d}" .env',
    )
    await setUp()
    await allAnswer()
    assert.doesNotMatch(await units(), /macula/)
    assert.equal(await machine.sh('pgrep --count --exact socat'), String(routes.length))
    await machine.sh('mv .env.systemd .env')
    await setUp()
    await allAnswer()
    assert.equal((await machine.ask(['pgrep', '--exact', 'socat'])).stdout, '')
    assert.equal(differences(withSystemd, await snapshotOf(machine)).join('\n'), '')
  })

  test('are gone after teardown, with everything that made them', async () => {
    await succeeds(machine, 'teardown', '--yes')
    assert.equal(differences(untouched, await snapshotOf(machine)).join('\n'), '')
    await machine.reboot()
    assert.equal(differences(untouched, await snapshotOf(machine)).join('\n'), '')
  })
})
