import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { describe, it } from 'node:test'
import { dnsmasqConfig } from '../../../lib/dns/config.ts'
import { answersWith, requireVersion } from '../../../lib/dns/daemon.ts'
import { query } from '../../../lib/dns/query.ts'
import { checkServer, namesToCheck, verifyNames } from '../../../lib/dns/verify.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { hasProgram, programPath } from '../../../lib/system/machine.ts'
import { us } from '../../helpers/owner.ts'
import { goodPlatform } from '../../helpers/platform.ts'

const platform = await goodPlatform()
const { domain } = platform

describe('the configuration of dnsmasq', () => {
  it('serves the domain only, in the shape that answers AAAA with nothing', async () => {
    const { text } = await dnsmasqConfig(platform, {
      listen: { ip: '127.0.0.1', port: 53 },
      upstream: { kind: 'none' },
      user: undefined,
      owner: us,
    })
    const settings = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
    assert.deepEqual(settings.slice(0, 8), [
      'port=53',
      'listen-address=127.0.0.1',
      'bind-interfaces',
      'no-hosts',
      'pid-file=',
      'no-resolv',
      'local=/macula.local/',
      'address=/macula.local/127.0.0.2',
    ])
    assert.ok(settings.includes('address=/grafana.macula.local/127.0.0.4'))
    assert.equal(settings.filter(line => line.startsWith('address=')).length, platform.names.length + 1)
    assert.doesNotMatch(text, /^(server|user)=/m)
  })

  it('has a version that changes with anything in it', async () => {
    const versionOf = async (port: number, user?: string) =>
      (
        await dnsmasqConfig(platform, {
          listen: { ip: '127.0.0.1', port },
          upstream: { kind: 'none' },
          user,
          owner: us,
        })
      ).version
    assert.equal(await versionOf(53), await versionOf(53))
    assert.notEqual(await versionOf(53), await versionOf(5300))
    assert.notEqual(await versionOf(53), await versionOf(53, 'nobody'))
  })

  it('refuses a dnsmasq whose answers for IPv6 are wrong', () => {
    requireVersion('Dnsmasq version 2.90  Copyright')
    requireVersion('Dnsmasq version 2.86  Copyright')
    requireVersion('Dnsmasq version 3.0  Copyright')
    assert.throws(() => requireVersion('Dnsmasq version 2.85  Copyright'), /dnsmasq is too old/)
    assert.throws(() => requireVersion(''), /dnsmasq is too old/)
  })
})

describe('dnsmasq with that configuration', {
  skip: !(await hasProgram('dnsmasq')) && 'dnsmasq is not installed',
}, () => {
  const listen = { ip: '127.0.0.1', port: 20_000 + (process.pid % 10_000) }

  it('answers names, the wildcard and its version, and knows no other domain', async () => {
    const { text, version } = await dnsmasqConfig(platform, {
      listen,
      upstream: { kind: 'none' },
      user: undefined,
      owner: us,
    })
    const server = spawn((await programPath('dnsmasq'))!, ['--keep-in-foreground', '--conf-file=-'])
    server.stdin.end(text)
    try {
      await verifyNames(() => checkServer(listen, namesToCheck(platform)), '', 3000)
      assert.equal(await answersWith(listen, version), true)
      assert.equal(await answersWith(listen, 'another'), false)
      const deep = await query(listen, `a.b.c.${domain}`, 'A')
      assert.deepEqual(deep, { kind: 'records', records: [platform.wildcard] })
      assert.equal((await query(listen, `x${domain}`, 'A')).kind, 'failed')
      const wrong = await checkServer(listen, [{ name: `grafana.${domain}`, ip: '127.0.0.99' }])
      assert.deepEqual(
        wrong.map(({ problem }) => problem),
        [`grafana.${domain} should be 127.0.0.99; dnsmasq at 127.0.0.1:${listen.port} says: 127.0.0.4`],
      )
    } finally {
      server.kill()
    }
  })

  it('is reported with every name that it does not answer, once the time is over', async () => {
    const names = namesToCheck(platform)
    const error = await verifyNames(() => checkServer(listen, names), 'look here', 1).catch(caught => caught)
    assert.ok(error instanceof PlatformError)
    assert.equal(error.why?.split('\n').length, names.length)
    assert.equal(error.hint, 'look here')
  })
})
