#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { changeMachine } from '../lib/cli/change.ts'
import { defineTask } from '../lib/cli/task.ts'
import { dnsmasqPackage } from '../lib/dns/daemon.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { chooseEngine, inspectMachine } from '../lib/routes/choose.ts'
import { hasTool } from '../lib/system/exec.ts'
import { detectHost, packageManagerOf, programPath } from '../lib/system/machine.ts'

export default defineTask({
  name: 'install-packages',
  summary: 'Install the packages that DNS and routes need, in one go',
  leaves: ['the packages dnsmasq (dnsmasq-base on Debian) and, where routes need it, socat; each where it was missing'],
  undo: 'task teardown',
  options: {
    'dry-run': { type: 'boolean', onlyLooks: true, help: 'only say what would be installed' },
  },
  async run({ options, yes, environment, out }) {
    const paths = pathsOf(environment)
    const [platform, machine] = await Promise.all([loadPlatform(paths, environment), inspectMachine()])
    const host = await detectHost(platform.settings.MACULA_OS)
    const packages: string[] = []
    if (!(await programPath('dnsmasq'))) packages.push(dnsmasqPackage(host))
    if (chooseEngine(platform.settings.ROUTING, machine) === 'socat' && !(await hasTool('socat')))
      packages.push('socat')
    const change = {
      task: 'install-packages',
      out,
      paths,
      yes,
      adopt: false,
      dryRun: options['dry-run'] ?? false,
      reason: 'install packages',
    }
    await changeMachine(change, ({ open, step }) =>
      step(packages.length === 0 ? 'Install packages' : `Install ${packages.join(', ')}`, async () => {
        if (packages.length === 0) return 'unchanged'
        return open('packages').installPackages(packageManagerOf(host, packages[0] ?? ''), packages)
      }),
    )
  },
})
