import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { chooseResolver } from '../../../lib/dns/resolver.ts'
import { parseResolvectl } from '../../../lib/dns/resolvers/facts.ts'
import { macos, renderResolverFile } from '../../../lib/dns/resolvers/macos.ts'
import { networkManager as networkManagerOwner } from '../../../lib/dns/resolvers/networkmanager.ts'
import { parseResolvConf, renderResolvConf } from '../../../lib/dns/resolvers/resolv-conf-file.ts'
import { withLine } from '../../../lib/dns/resolvers/resolvconf.ts'
import { renderDropIn, systemdResolved } from '../../../lib/dns/resolvers/systemd-resolved.ts'
import { withoutResolvConf, wsl } from '../../../lib/dns/resolvers/wsl.ts'
import { type Surroundings, standingFindings } from '../../../lib/doctor/dns.ts'
import type { Journal } from '../../../lib/journal/journal.ts'
import { args } from '../../../lib/system/exec.ts'
import { us } from '../../helpers/owner.ts'
import { debian, file, machine, networkManager } from '../../helpers/resolver-facts.ts'

describe('what is written', () => {
  it('keeps search and options of resolv.conf, the former servers behind ours, and no rotation among them', () => {
    const former = parseResolvConf(
      '# mine\nsearch example.test\noptions rotate timeout:1\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n',
    )
    const text = renderResolvConf('resolv-conf', us, '127.0.0.1', former)
    assert.deepEqual(text.split('\n').slice(1), [
      'nameserver 127.0.0.1',
      'nameserver 192.0.2.1',
      'nameserver 192.0.2.2',
      'search example.test',
      'options timeout:1',
      '',
    ])
    const again = parseResolvConf(text)
    assert.equal(again.writtenFor, 'resolv-conf')
    const ofEarlierRelease = '# Written by the Macula platform for wsl: `task teardown` puts the former one back.\n'
    assert.equal(parseResolvConf(ofEarlierRelease).writtenFor, 'wsl')
    assert.equal(renderResolvConf('resolv-conf', us, '127.0.0.1', again), text)
  })

  it('routes one domain of systemd-resolved, with the port where it is not 53', () => {
    assert.match(
      renderDropIn(us, 'macula.local', '127.0.0.1:5300'),
      /^\[Resolve\]\n(#.*\n)?DNS=\nDNS=127\.0\.0\.1:5300\nDomains=~macula\.local\n$/m,
    )
  })

  it('is the resolver file of macOS', () => {
    assert.equal(
      renderResolverFile(us, { ip: '127.0.0.1', port: 5300 }),
      '# Written by the Macula platform (installation 0123456789ab in /srv/macula/.macula).\nnameserver 127.0.0.1\nport 5300\n',
    )
  })

  it('adds one line to the settings of resolvconf, and replaces it later', () => {
    const once = withLine('# head\nnameserver 192.0.2.1', 'nameserver 127.0.0.1')
    assert.equal(once, '# head\nnameserver 192.0.2.1\n# Macula platform\nnameserver 127.0.0.1\n')
    assert.equal(withLine(once, 'nameserver 127.0.0.1'), once)
    assert.equal(withLine('', 'name_servers=127.0.0.1'), '# Macula platform\nname_servers=127.0.0.1\n')
  })

  it('turns off generateResolvConf in wsl.conf and keeps everything else', () => {
    assert.equal(withoutResolvConf(''), '[network]\ngenerateResolvConf = false\n')
    assert.equal(
      withoutResolvConf('[boot]\nsystemd=true\n'),
      '[boot]\nsystemd=true\n[network]\ngenerateResolvConf = false\n',
    )
    assert.equal(
      withoutResolvConf('[network]\nhostname = box\n[boot]\n'),
      '[network]\ngenerateResolvConf = false\nhostname = box\n[boot]\n',
    )
    assert.equal(withoutResolvConf('[network]\ngenerateResolvConf=true\n'), '[network]\ngenerateResolvConf = false\n')
    const done = '[network]\ngenerateResolvConf=false\n'
    assert.equal(withoutResolvConf(done), done)
  })
})

describe('resolvectl status', () => {
  const text = `Global
           Protocols: +LLMNR -mDNS +DNSOverTLS DNSSEC=no/unsupported
    resolv.conf mode: stub
         DNS Servers: 192.0.2.7#dns.example 192.0.2.8
Fallback DNS Servers: 192.0.2.9
                      2001:db8::9

Link 2 (eth0)
    Current Scopes: DNS
         Protocols: +DefaultRoute -DNSOverTLS
Current DNS Server: 192.0.2.1
       DNS Servers: 192.0.2.1 192.0.2.2
        DNS Domain: example.test

Link 3 (tun0)
    Current Scopes: DNS
       DNS Servers: 198.51.100.1
        DNS Domain: ~corp.example ~macula.local
`
  it('tells global servers, those of links, and what links keep to themselves', () => {
    assert.deepEqual(parseResolvectl(text), {
      global: ['192.0.2.7#dns.example', '192.0.2.8'],
      fallback: ['192.0.2.9', '2001:db8::9'],
      links: ['192.0.2.1', '192.0.2.2', '198.51.100.1'],
      strictTls: true,
      dnssec: false,
      domains: [],
      routed: [
        { domain: 'example.test', link: 'eth0' },
        { domain: 'corp.example', link: 'tun0' },
        { domain: 'macula.local', link: 'tun0' },
      ],
    })
  })
})

describe('findings of doctor', () => {
  const facts = machine('nameserver 192.0.2.1\n', file)
  const adapter = chooseResolver('auto', facts)
  const quiet = { dnsmasqVersion: 'Dnsmasq version 2.90  Copyright', dhclient: false, attributes: '' }
  const found = (changes: Partial<Surroundings>, of = adapter, its = facts) =>
    standingFindings(of, its, { ...quiet, ...changes }).map(({ check, state }) => `${state}: ${check}`)

  it('are none on an ordinary machine', () => {
    assert.deepEqual(found({}), [])
    assert.deepEqual(found({ dnsmasqVersion: undefined }), [])
    assert.deepEqual(found({ attributes: '--------------e------- /etc/resolv.conf' }), [])
  })

  it('name what would refuse the change, and what would undo it later', () => {
    assert.deepEqual(found({ dnsmasqVersion: 'Dnsmasq version 2.80  Copyright' }), ['fail: dnsmasq'])
    assert.deepEqual(found({ attributes: '----i---------e------- /etc/resolv.conf' }), ['fail: /etc/resolv.conf'])
    assert.deepEqual(found({ dhclient: true }), ['warn: /etc/resolv.conf'])
    assert.deepEqual(found({ dhclient: true, attributes: '----i--- x' }, systemdResolved), [])
  })

  it('say what names cannot do on WSL and macOS', () => {
    const [windows, mac] = [
      { ...debian, wsl: true },
      { ...debian, os: 'macos' },
    ]
    assert.deepEqual(found({}, wsl, machine('', file, { host: windows })), ['warn: WSL'])
    assert.deepEqual(found({}, macos, machine('', file, { host: mac })), ['warn: mDNS'])
  })
})

describe('settings that NetworkManager was not told of', () => {
  const ours = renderResolvConf('networkmanager', us, '127.0.0.1', parseResolvConf('nameserver 192.0.2.1\n'))
  const apply = async (dns: string | undefined) => {
    const commands: string[] = []
    const journal = {
      afterUndo: async () => {},
      writeFile: async () => 'unchanged',
      $: async (...template: Parameters<Journal['$']>) => void commands.push(args(...template).join(' ')),
    } as unknown as Journal
    const facts = machine(ours, file, { networkManager: networkManager('default', dns) })
    const listen = { ip: '127.0.0.1', port: 53 }
    const outcome = await networkManagerOwner.apply({ facts, domain: 'macula.local', listen, journal, owner: us })
    return { outcome, commands }
  }

  it('are told it by the next run, and only then', async () => {
    assert.deepEqual(await apply('auto'), { outcome: 'updated', commands: ['nmcli general reload'] })
    assert.deepEqual(await apply('unmanaged'), { outcome: 'unchanged', commands: [] })
    assert.deepEqual(await apply(undefined), { outcome: 'unchanged', commands: [] })
  })
})
