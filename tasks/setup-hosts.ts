#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { stat } from 'node:fs/promises'
import { defineTask } from '../lib/cli/task.ts'
import { ensureHosts, hostsPath } from '../lib/dns/hosts.ts'
import { checkThroughResolver, verifyNames } from '../lib/dns/verify.ts'
import { openJournal } from '../lib/journal/journal.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { requireWritable } from '../lib/system/files.ts'
import { acquireRoot, asRoot, type Privilege } from '../lib/system/privilege.ts'

export default defineTask({
  name: 'setup-hosts',
  summary: 'Write the names to /etc/hosts instead (deprecated, no wildcard)',
  replaces: 'scripts/setup-hosts.sh',
  leaves: ['a marked block in /etc/hosts'],
  undo: 'task teardown',
  options: { 'dry-run': { type: 'boolean', help: 'only say what would be changed on this machine' } },
  async run({ options, environment, out }) {
    const paths = pathsOf(environment)
    const { names, domain } = await loadPlatform(paths, environment)
    out.warn(`setup-hosts is deprecated: it has no wildcard, so only these ${names.length} names of ${domain} resolve.`)
    out.warn('Use setup-dnsmasq where you can.')

    const present = await stat(hostsPath).catch(() => undefined)
    const ownership = present ? { mode: present.mode & 0o7777, owner: { uid: present.uid, gid: present.gid } } : {}
    const open = (privilege: Privilege, dryRun: boolean) =>
      openJournal({ stateDir: paths.stateDir, privilege, scope: 'hosts', dryRun })
    const preview = open(asRoot, true)
    await ensureHosts(names, preview, ownership)
    if (options['dry-run']) {
      for (const { what } of preview.planned) out.result(what)
      return out.summary('Nothing was changed (--dry-run).')
    }
    const need = {
      reason: `change ${hostsPath}`,
      commands: preview.planned.map(({ command }) => command),
      interactive: out.interactive,
      say: out.say,
    }
    const privilege = preview.planned.length === 0 ? asRoot : await acquireRoot(need)
    if (preview.planned.length > 0) await requireWritable(hostsPath, privilege)
    await out.step(`Write ${names.length} names to ${hostsPath}`, () =>
      ensureHosts(names, open(privilege, false), ownership),
    )
    await out.step(`Ask for ${names.length} names`, async () => {
      await verifyNames(() => checkThroughResolver(names))
      return 'unchanged'
    })
    out.summary('To undo: task teardown')
  },
})
