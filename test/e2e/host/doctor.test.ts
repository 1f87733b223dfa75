import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Finding } from '../../../lib/doctor/finding.ts'
import { noMachines } from '../../helpers/requirements.ts'
import { useMachine } from '../../helpers/resolver-machine.ts'
import { succeeds } from '../../helpers/resolver-tests.ts'
import { differences, snapshotOf } from '../../helpers/snapshot.ts'

const install = 'DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends'
const purge = 'DEBIAN_FRONTEND=noninteractive apt-get -q -y purge --auto-remove'

describe('doctor on a machine with systemd-resolved', { skip: await noMachines() }, () => {
  const { machine, isRight, refuses, worksAndComesOff } = useMachine('resolved')
  const findings = async (...checks: string[]): Promise<Finding[]> => {
    const { stdout } = await machine().task('doctor', '--json')
    return (JSON.parse(stdout).findings as Finding[]).filter(({ check }) => checks.includes(check))
  }
  const states = async (check: string) => (await findings(check)).map(({ state }) => state)
  const only = async (check: string) => {
    const [finding, ...more] = await findings(check)
    assert.deepEqual(more, [])
    assert.ok(finding?.hint, `${check} without what to do: ${finding?.detail}`)
    return finding
  }
  const setting = (text: string) =>
    machine().sh(
      `mkdir -p /etc/systemd/resolved.conf.d; printf '[Resolve]\\n%s\\n' "$1" >/etc/systemd/resolved.conf.d/site.conf
       systemctl reset-failed systemd-resolved; systemctl restart systemd-resolved machine-upstream`,
      text,
    )
  const unset = () =>
    machine().sh(`rm -r /etc/systemd/resolved.conf.d
      systemctl reset-failed systemd-resolved; systemctl restart systemd-resolved machine-upstream`)
  const domain = (name: string) => machine().sh('sed -i "s/^MACULA_DOMAIN=.*/MACULA_DOMAIN=$1/" .env', name)

  test('has nothing to say against such a machine, or against one that is set up', async () => {
    assert.deepEqual(await findings('mDNS', 'Split DNS', 'Firewall'), [])
    await succeeds(machine(), 'setup-dnsmasq')
    assert.equal((await findings('DNS'))[1]?.detail, 'to be changed: nothing')
    await succeeds(machine(), 'teardown', '--yes')
  })

  test('names who holds every address that dnsmasq could have', async () => {
    await machine().sh(
      'for port in 53 5300 5301 5302 5303; do systemd-run --unit=holder-$port socat UDP-RECVFROM:$port,bind=127.0.0.1,fork /dev/null; done',
    )
    const finding = await only('DNS')
    assert.equal(finding.state, 'fail')
    assert.match(finding.detail, /held by .*socat/)
    await refuses(/127\.0\.0\.1:53 is held by .*socat/)
    await machine().sh('systemctl stop "holder-*.service"')
  })

  test('knows a connection that has our names answered elsewhere, which setup-dnsmasq refuses', async () => {
    await machine().sh(`
      ip link add vpn0 type veth peer name vpn1; ip address add 10.88.0.2/24 dev vpn0; ip link set vpn0 up; ip link set vpn1 up
      resolvectl dns vpn0 10.79.0.53; resolvectl domain vpn0 '~macula.local'`)
    const same = await only('DNS')
    assert.equal(same.state, 'fail')
    assert.match(same.detail, /vpn0 routes macula\.local to its own DNS servers/)
    await refuses(/vpn0/)
    await machine().sh("resolvectl domain vpn0 '~local'")
    const above = await only('Split DNS')
    assert.equal(above.state, 'warn')
    assert.match(above.detail, /vpn0 routes local to its own DNS servers/)
    await worksAndComesOff()
    await machine().sh("resolvectl domain vpn0 '~other.example'")
    assert.deepEqual(await findings('Split DNS'), [])
    await machine().sh('ip link delete vpn0')
  })

  test('knows a resolver that wants signatures or TLS for our names, which setup-dnsmasq refuses', async () => {
    await setting('DNSSEC=yes')
    assert.deepEqual(await states('DNS'), ['ok', 'ok'])
    await worksAndComesOff()
    await domain('macula.dev')
    assert.match((await only('DNS')).detail, /macula\.dev cannot be signed/)
    await refuses(/macula\.dev cannot be signed/)
    await domain('macula.local')
    await setting('DNSOverTLS=yes')
    assert.match((await only('DNS')).detail, /TLS/)
    await refuses(/TLS/)
    await unset()
  })

  test('knows multicast DNS that gets in the way from one that does not', async () => {
    const before = await snapshotOf(machine())
    await machine().sh(`${install} avahi-daemon libnss-mdns; cp -a /etc/nsswitch.conf /root/nsswitch`)
    assert.match(await machine().sh('grep ^hosts: /etc/nsswitch.conf'), /mdns4_minimal \[NOTFOUND=return\]/)
    assert.deepEqual(await findings('mDNS'), [])
    await succeeds(machine(), 'setup-dnsmasq')
    await isRight()
    await machine().sh('echo .local >/etc/mdns.allow; sed -i s/mdns4_minimal/mdns4/ /etc/nsswitch.conf')
    assert.match((await only('mDNS')).hint ?? '', /mdns4_minimal/)
    await machine().sh(`rm /etc/mdns.allow; cp -a /root/nsswitch /etc/nsswitch.conf; rm /root/nsswitch`)
    await succeeds(machine(), 'teardown', '--yes')
    await machine().sh(`${purge} avahi-daemon libnss-mdns`)
    const left = differences(before, await snapshotOf(machine())).filter(line => /macula|dnsmasq|resolv/.test(line))
    assert.equal(left.join('\n'), '')
  })

  test('knows firewalls, and what lets this machine reach its containers', async () => {
    await machine().sh(`${install} ufw; ufw --force enable`)
    assert.deepEqual(await states('Firewall'), ['ok'])
    await machine().sh('ufw default deny outgoing')
    const strict = await only('Firewall')
    assert.equal(strict.state, 'warn')
    assert.equal(strict.hint, 'sudo ufw allow out to 172.23.0.0/16')
    await machine().sh(`ufw default allow outgoing; ufw --force disable; ${purge} ufw; ${install} firewalld`)
    assert.match((await only('Firewall')).detail, /^firewalld: its reload/)
    await machine().sh(`systemctl stop firewalld; ${purge} firewalld`)
  })
})
