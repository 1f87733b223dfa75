import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PlatformError } from '../../../lib/system/errors.ts'
import { detectHost, type Host, packageManagerOf, readRelease } from '../../../lib/system/machine.ts'

describe('the kind of a machine', () => {
  for (const [text, os] of [
    ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', 'debian'],
    ['ID=ubuntu\nID_LIKE=debian\n', 'debian'],
    ['ID=linuxmint\nID_LIKE="ubuntu debian"\n', 'debian'],
    ['ID=fedora\n', 'fedora'],
    ['ID="rocky"\nID_LIKE="rhel centos fedora"\n', 'fedora'],
    ['ID=arch\n', 'arch'],
    ['ID=endeavouros\nID_LIKE=arch\n', 'arch'],
    ['ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', 'opensuse'],
    ['ID=alpine\n', 'alpine'],
    ['ID=nixos\n', 'unknown'],
    ['', 'unknown'],
  ] as const) {
    it(`is ${os} for ${JSON.stringify(text)}`, () => assert.equal(readRelease(text).os, os))
  }

  it('carries the name that the system has for itself', () => {
    assert.equal(
      readRelease('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n').name,
      'Debian GNU/Linux 12 (bookworm)',
    )
    assert.equal(readRelease('').name, 'an unknown system')
  })

  it('is what the settings say, where they say anything', async () => {
    assert.equal((await detectHost('arch', 'linux')).os, 'arch')
    const mac = await detectHost('auto', 'darwin')
    assert.deepEqual([mac.os, mac.init], ['macos', 'launchd'])
  })

  it('decides on the package manager, which is never guessed', () => {
    const host = (os: string): Host => ({ os, name: 'NixOS', init: 'systemd', wsl: false, summary: '', choices: [] })
    assert.equal(packageManagerOf(host('opensuse'), 'dnsmasq'), 'zypper')
    assert.throws(
      () => packageManagerOf(host('unknown'), 'dnsmasq'),
      (error: PlatformError) => {
        assert.equal(error.message, 'No package manager is known for NixOS')
        assert.match(error.hint ?? '', /^Install dnsmasq by hand/)
        return error instanceof PlatformError
      },
    )
  })
})
