#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { stat } from 'node:fs/promises'
import { changeMachine } from '../lib/cli/change.ts'
import { defineTask } from '../lib/cli/task.ts'
import { ensureHosts, hostsPath } from '../lib/dns/hosts.ts'
import { checkThroughResolver, verifyNames } from '../lib/dns/verify.ts'
import { foreignFiles } from '../lib/journal/foreign.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { root } from '../lib/system/checkout.ts'
import { requireWritable } from '../lib/system/files.ts'

export default defineTask({
  name: 'setup-hosts',
  summary: 'Write the names to /etc/hosts instead (deprecated, no wildcard)',
  replaces: 'scripts/setup-hosts.sh',
  leaves: ['a marked block in /etc/hosts'],
  undo: 'task teardown',
  options: {
    'dry-run': { type: 'boolean', onlyLooks: true, help: 'only say what would be changed on this machine' },
    adopt: { type: 'boolean', help: 'take over what this checkout set up before its state folder was lost' },
  },
  async run({ options, yes, environment, out }) {
    const paths = pathsOf(environment)
    const { names, domain } = await loadPlatform(paths, environment)
    out.warn(`setup-hosts is deprecated: it has no wildcard, so only these ${names.length} names of ${domain} resolve.`)
    out.warn('Use setup-dnsmasq where you can.')

    const change = {
      task: 'setup-hosts',
      out,
      paths,
      yes,
      adopt: options.adopt ?? false,
      dryRun: options['dry-run'] ?? false,
      reason: `change ${hostsPath}`,
    }
    const done = await changeMachine(change, async ({ open, step, owner, privilege, isPreview, requireOurs }) => {
      const present = await stat(hostsPath).catch(() => undefined)
      const ownership = present ? { mode: present.mode & 0o7777, owner: { uid: present.uid, gid: present.gid } } : {}
      if (paths.sandbox === undefined) requireOurs(await foreignFiles([hostsPath], owner, root))
      if (!isPreview) await requireWritable(hostsPath, privilege)

      await step(`Write ${names.length} names to ${hostsPath}`, () =>
        ensureHosts(names, owner, open('hosts'), ownership),
      )

      if (isPreview) return
      await step(`Look up ${names.length} names`, async () => {
        await verifyNames(() => checkThroughResolver(names))
        return 'unchanged'
      })
    })
    if (done) out.summary('To undo: task teardown')
  },
})
