import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { noMachines } from '../../helpers/requirements.ts'
import { useMachine } from '../../helpers/resolver-machine.ts'
import { succeeds } from '../../helpers/resolver-tests.ts'
import { snapshotOf } from '../../helpers/snapshot.ts'

const skip = await noMachines()

describe('a machine whose resolver becomes another one after setup-dnsmasq', { skip }, () => {
  const { machine, isRight } = useMachine('resolved')

  test('is pointed at dnsmasq in the new way, without what the old way left; teardown leaves what the person made', async () => {
    await succeeds(machine(), 'setup-dnsmasq')
    await isRight()
    await machine().sh(`
      systemctl disable --now machine-upstream.service; systemctl disable --now systemd-resolved.service
      cp -a /etc/nsswitch.conf /root/nsswitch; sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf
      rm /etc/resolv.conf; printf 'search corp.test\\nnameserver 10.79.0.53\\n' >/etc/resolv.conf`)
    assert.match(await succeeds(machine(), 'setup-dnsmasq'), /plain \/etc\/resolv\.conf/)
    await isRight()
    assert.equal(await machine().sh('ls -A /etc/systemd/resolved.conf.d 2>/dev/null || true'), '')
    await succeeds(machine(), 'teardown', '--yes')
    assert.equal(await machine().sh('cat /etc/resolv.conf'), 'search corp.test\nnameserver 10.79.0.53')
    assert.equal(await machine().sh('ls -d /etc/macula /etc/systemd/system/macula* 2>/dev/null || true'), '')
    assert.equal((await machine().ask(['systemctl', 'is-active', 'systemd-resolved'])).stdout.trim(), 'inactive')
  })

  test('goes back to systemd-resolved the same way', async () => {
    await succeeds(machine(), 'setup-dnsmasq')
    await machine().sh(`
      rm /etc/resolv.conf; ln -s ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf; mv /root/nsswitch /etc/nsswitch.conf
      systemctl enable --now systemd-resolved.service; systemctl enable --now machine-upstream.service`)
    await succeeds(machine(), 'setup-dnsmasq')
    await isRight()
    assert.match(await machine().sh('cat /etc/resolv.conf'), /stub resolver/)
    await succeeds(machine(), 'teardown', '--yes')
    assert.equal(await machine().sh('readlink /etc/resolv.conf'), '../run/systemd/resolve/stub-resolv.conf')
    assert.equal(await machine().sh('ls -A /etc/systemd/resolved.conf.d /etc/macula 2>/dev/null || true'), '')
  })
})

describe('a machine whose NetworkManager gives up its dnsmasq after setup-dnsmasq', { skip }, () => {
  const { machine, isAs, isRight, refuses } = useMachine('networkmanager-dnsmasq')
  const restart = 'systemctl restart NetworkManager; nm-online --quiet --timeout 30'

  test('is pointed at dnsmasq through NetworkManager itself, then back; teardown leaves the machine as it was', async () => {
    const untouched = await snapshotOf(machine())
    await succeeds(machine(), 'setup-dnsmasq')
    await isRight()
    await machine().sh(`grep -l dns=dnsmasq /etc/NetworkManager/conf.d/* >/root/where
      mv "$(cat /root/where)" /root/plugin.conf; ${restart}`)
    assert.match(await succeeds(machine(), 'setup-dnsmasq'), /owner of \/etc\/resolv\.conf/)
    await isRight()
    assert.equal(await machine().sh('ls -A /etc/NetworkManager/dnsmasq.d'), '')
    await machine().sh('cp .env /root/env; sed -i "s/^RESOLVER=.*/RESOLVER=resolv-conf/" .env')
    await refuses(/is written by NetworkManager/)
    await isRight()
    await machine().sh('mv /root/env .env')
    await machine().sh(`mv /root/plugin.conf "$(cat /root/where)"; rm /root/where; ${restart}`)
    assert.match(await succeeds(machine(), 'setup-dnsmasq'), /dnsmasq plugin/)
    await isRight()
    await succeeds(machine(), 'teardown', '--yes')
    await isAs(untouched)
  })
})
