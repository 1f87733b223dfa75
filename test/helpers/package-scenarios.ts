// Run by faults/packages.test.ts in a mount namespace whose /etc, /usr and /var are copies: installs packages of its own making with the real apt,
// lets somebody else change something, undoes the installation, and prints what became of it as JSON.
import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openJournal } from '../../lib/journal/journal.ts'
import { $ } from '../../lib/system/exec.ts'
import { asRoot } from '../../lib/system/privilege.ts'

// biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query fills these in
const format = '${Package} ${Status}\\n'

/** Account files, and packages as dpkg has them. */
interface Machine {
  accounts: Record<string, string>
  packages: string[]
}

const makeAccounts = `#!/bin/sh -e
[ "$1" = configure ] || exit 0
id made-daemon >/dev/null 2>&1 || useradd --system made-daemon
getent group made-daemon-log >/dev/null || groupadd --system made-daemon-log`

/** Name, what it needs, and what it runs when it is installed. */
const sources: [string, string, string?][] = [
  ['made-lib', ''],
  ['made-daemon', 'made-lib', makeAccounts],
  ['theirs-needs-lib', 'made-lib'],
  ['theirs-needs-daemon', 'made-daemon'],
]

async function makeRepository(folder: string): Promise<void> {
  const index: string[] = []
  for (const [name, depends, postinst] of sources) {
    const control = [
      `Package: ${name}`,
      'Version: 1.0',
      'Architecture: all',
      'Maintainer: Test <test@example.com>',
      ...(depends ? [`Depends: ${depends}`] : []),
      'Description: made for a test',
    ]
    await mkdir(join(folder, name, 'DEBIAN'), { recursive: true })
    await writeFile(join(folder, name, 'DEBIAN', 'control'), `${control.join('\n')}\n`)
    if (postinst) await writeFile(join(folder, name, 'DEBIAN', 'postinst'), `${postinst}\n`, { mode: 0o755 })
    await $`dpkg-deb --build ${join(folder, name)} ${join(folder, `${name}.deb`)}`
    const deb = await readFile(join(folder, `${name}.deb`))
    const hash = createHash('sha256').update(deb).digest('hex')
    index.push([...control, `Filename: ./${name}.deb`, `Size: ${deb.length}`, `SHA256: ${hash}`, ''].join('\n'))
  }
  await writeFile(join(folder, 'Packages'), index.join('\n'))
  await $`sh -c ${'rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*'}`
  await writeFile('/etc/apt/sources.list', `deb [trusted=yes] file:${folder} ./\n`)
  await $`apt-get -q update`
}

async function machine(): Promise<Machine> {
  const names = ['passwd', 'shadow', 'group', 'gshadow', 'subuid', 'subgid'].flatMap(name => [name, `${name}-`])
  const contents = names.map(async name => [name, await readFile(join('/etc', name), 'utf8').catch(() => 'none')])
  const packages = await $`dpkg-query -W -f ${format}`.lines()
  return { accounts: Object.fromEntries(await Promise.all(contents)), packages }
}

const [scenario = ''] = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'macula-apt-'))
// apt reads as a user of its own
await chmod(folder, 0o755)
const journal = openJournal({ stateDir: join(folder, 'state'), privilege: asRoot, scope: 'dns' })
try {
  await makeRepository(folder)
  const before = await machine()
  await journal.installPackages('apt', ['made-daemon'])
  const installed = await machine()
  await $`sh -c ${scenario}`.quiet()
  const planned = await journal.undo({ dryRun: true })
  const undone = await journal.undo()
  const after = await machine()
  await $`apt-get -q -y purge ${'^theirs-'}`.nothrow()
  const again = await journal.undo()
  console.log(JSON.stringify({ before, installed, planned, undone, after, again, end: await machine() }))
} finally {
  await rm(folder, { recursive: true })
}
