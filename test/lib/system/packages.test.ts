import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  installCommand,
  installedIn,
  missingPackages,
  type PackageManagerName,
  packageManagerNames,
  packagesIn,
  packagesToInstall,
  removableOf,
  removeCommand,
} from '../../../lib/system/packages.ts'
import { asRoot } from '../../../lib/system/privilege.ts'
import { shellOf } from '../../helpers/shell.ts'

const answer = (stdout: string) => shellOf(() => stdout)

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

  it('pacman does not know a package before the whole machine is upgraded, which is not ours to do', async () => {
    const path = process.env.PATH
    const folder = await mkdtemp(join(tmpdir(), 'macula-pacman-'))
    const log = join(folder, 'log')
    await writeFile(join(folder, 'pacman'), `#!/bin/sh\necho "$*" >> ${log}\necho known\n`, { mode: 0o755 })
    process.env.PATH = `${folder}:${path}`
    try {
      assert.deepEqual(await packagesToInstall('pacman', ['known'], asRoot), ['known'])
      await assert.rejects(packagesToInstall('pacman', ['known', 'new'], asRoot), {
        message: 'pacman does not know new',
        hint: 'sudo pacman -Syu',
      })
      assert.doesNotMatch(await readFile(log, 'utf8'), /-Sy/)
    } finally {
      process.env.PATH = path
      await rm(folder, { recursive: true })
    }
  })

  describe('removal', () => {
    const depends: Record<string, string[]> = { 'network-manager': ['dnsmasq-base'], 'dnsmasq-base': ['libnftnl11'] }
    const withDependents = (name: string): string[] => [
      name,
      ...Object.keys(depends)
        .filter(other => depends[other]?.includes(name))
        .flatMap(withDependents),
    ]
    /** Stands for a package manager on a machine with these packages: says what would go, and refuses to really remove. */
    const manager = (present: readonly string[], say: (names: string[]) => string) =>
      shellOf(command => {
        assert.match(command, / (-s|--simulate|--dry-run|--assumeno|--print|sh) ?|brew uses/)
        const names = command.split(/ uses | /).filter(word => present.includes(word))
        return say([...new Set(names.flatMap(withDependents))].filter(name => present.includes(name)))
      })
    const said: Record<PackageManagerName, (names: string[]) => string> = {
      apt: names => names.map(name => `Purg ${name} [1.0]\n`).join(''),
      dnf: names => `Removing:\n${names.map(name => ` ${name}  x86_64  1.0  @fedora  1 k\n`).join('')}\n`,
      pacman: names => names.map(name => `${name}\n`).join(''),
      zypper: names => `The following ${names.length} packages are going to be REMOVED:\n  ${names.join(' ')}\n\n1 B\n`,
      apk: names => names.map((name, index) => `(${index + 1}/${names.length}) Purging ${name} (1.0-r0)\n`).join(''),
      brew: names => names.slice(1).join('\n'),
    }
    for (const name of packageManagerNames) {
      it(`${name} removes what nothing else needs`, async () => {
        const shell = manager(['dnsmasq-base', 'libnftnl11'], said[name])
        const { removable, needed } = await removableOf(name, ['dnsmasq-base', 'libnftnl11'], shell)
        assert.deepEqual([removable, [...needed]], [['dnsmasq-base', 'libnftnl11'], []])
      })
      it(`${name} keeps what was needed since by another package, and what that needs, and says by which`, async () => {
        const shell = manager(['dnsmasq-base', 'libnftnl11', 'socat', 'network-manager'], said[name])
        const { removable, needed } = await removableOf(name, ['socat', 'dnsmasq-base', 'libnftnl11'], shell)
        assert.deepEqual(removable, ['socat'])
        assert.deepEqual(needed.get('dnsmasq-base'), ['network-manager'])
        assert.ok(needed.get('libnftnl11')?.includes('network-manager'))
      })
    }
  })
})
