import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Result } from '../../../lib/system/exec.ts'
import {
  installCommand,
  installedIn,
  missingPackages,
  type PackageManagerName,
  packageManagerNames,
  packagesIn,
  removeCommand,
} from '../../../lib/system/packages.ts'

const answer = (stdout: string) => async (): Promise<Result> => ({ exitCode: 0, stdout, stderr: '' })

describe('package managers', () => {
  const commands: Record<PackageManagerName, [install: string, remove: string]> = {
    apt: [
      'env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends a b',
      'env DEBIAN_FRONTEND=noninteractive apt-get -q purge -y a b',
    ],
    dnf: ['dnf install -y --setopt=install_weak_deps=False a b', 'dnf remove -y --no-autoremove a b'],
    pacman: ['pacman -S --noconfirm --needed a b', 'pacman -R --noconfirm --nosave a b'],
    zypper: ['zypper --non-interactive install --no-recommends a b', 'zypper --non-interactive remove a b'],
    apk: ['apk add a b', 'apk del --purge a b'],
    brew: ['brew install --quiet a b', 'brew uninstall a b'],
  }
  for (const manager of packageManagerNames) {
    it(`${manager} installs and removes without a question`, () => {
      assert.equal(installCommand(manager, ['a', 'b']).join(' '), commands[manager][0])
      assert.equal(removeCommand(manager, ['a', 'b']).join(' '), commands[manager][1])
    })
  }

  it('are asked for nothing that is installed, and take leftovers of removed packages for missing', async () => {
    const list = 'adduser installed\ndnsmasq-base config-files\nsocat installed\n'
    assert.deepEqual([...installedIn(list)].filter(Boolean), ['adduser', 'socat'])
    assert.deepEqual(await missingPackages('apt', ['socat', 'dnsmasq-base'], answer(list)), ['dnsmasq-base'])
    assert.deepEqual(await missingPackages('pacman', ['socat', 'dnsmasq'], answer('dnsmasq\nsocat\n')), [])
  })

  const simulations: [PackageManagerName, string, string[]][] = [
    [
      'apt',
      'NOTE: This is only a simulation!\nInst libnftnl11 (1.2.4-2 Debian:12.5/stable [amd64])\nInst dnsmasq-base (2.90-4 Debian:12/stable [amd64])\nConf libnftnl11 (1.2.4-2 Debian:12.5/stable [amd64])\n',
      ['libnftnl11', 'dnsmasq-base'],
    ],
    ['apt', 'Inst libc6 [2.36-9] (2.36-9+deb12u4 Debian:12.5/stable [amd64])\n', []],
    [
      'dnf',
      'Package            Arch    Version       Repository  Size\nInstalling:\n dnsmasq            x86_64  2.90-3.fc41   fedora    354.6 KiB\nInstalling dependencies:\n libnetfilter_conntrack x86_64 1.0.9-5.fc41 fedora 128 KiB\n\nTransaction Summary:\n',
      ['dnsmasq', 'libnetfilter_conntrack'],
    ],
    ['pacman', 'libnetfilter_conntrack\ndnsmasq\n', ['libnetfilter_conntrack', 'dnsmasq']],
    [
      'zypper',
      'Loading repository data...\n\nThe following 2 NEW packages are going to be installed:\n  dnsmasq system-user-dnsmasq\n\n2 new packages to install.\n',
      ['dnsmasq', 'system-user-dnsmasq'],
    ],
    [
      'apk',
      '(1/2) Installing dnsmasq-common (2.90-r3)\n(2/2) Installing dnsmasq (2.90-r3)\nOK: 12 MiB in 27 packages\n',
      ['dnsmasq-common', 'dnsmasq'],
    ],
    ['brew', '==> Would install 1 formula:\ndnsmasq\n', ['dnsmasq']],
  ]
  for (const [manager, output, names] of simulations) {
    it(`${manager} tells what comes along: ${names.join(', ') || 'nothing new'}`, () =>
      assert.deepEqual(packagesIn(manager, output), names))
  }
})
