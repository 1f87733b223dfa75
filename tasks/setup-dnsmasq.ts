#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { logCommand } from '../lib/dns/daemon.ts'
import {
  dnsSteps,
  openDnsJournals,
  planDns,
  plannedChanges,
  requireChangeable,
  undoOtherResolvers,
} from '../lib/dns/setup.ts'
import { checkServer, checkThroughResolver, namesToCheck, verifyNames } from '../lib/dns/verify.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { detectHost } from '../lib/system/machine.ts'
import { acquireRoot, asRoot } from '../lib/system/privilege.ts'

export default defineTask({
  name: 'setup-dnsmasq',
  summary: "Resolve the platform's names on this machine, with dnsmasq",
  replaces: 'infrastructure/setup-dnsmasq.sh',
  leaves: [
    'the package dnsmasq (dnsmasq-base on Debian), where it was missing',
    '/etc/macula/dnsmasq.conf, and with systemd the unit macula-dnsmasq.service; elsewhere a dnsmasq process',
    'one setting that points the resolver of this machine at it; --dry-run says which',
  ],
  undo: 'task teardown',
  options: { 'dry-run': { type: 'boolean', help: 'only say what would be changed on this machine' } },
  async run({ options, environment, out }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const host = await detectHost(platform.settings.MACULA_OS)
    let plan = await planDns(platform, host)
    const planned = await plannedChanges(platform, plan)
    if (options['dry-run']) {
      for (const { what } of planned) out.result(what)
      return out.summary(planned.length === 0 ? 'Nothing would be changed.' : 'Nothing was changed (--dry-run).')
    }

    out.title(`Names of ${platform.domain}`)
    const need = {
      reason: `change how this machine resolves names (${planned.length} changes; --dry-run lists them)`,
      commands: planned.map(({ command }) => command),
      interactive: out.interactive,
      say: out.say,
    }
    const privilege = planned.length === 0 ? asRoot : await acquireRoot(need)
    if (planned.length > 0) await requireChangeable(plan, privilege)
    if ((await undoOtherResolvers(plan.adapter, openDnsJournals(platform, plan, privilege).resolver)).length > 0)
      plan = await planDns(platform, host)
    for (const { title, run } of dnsSteps(platform, plan, openDnsJournals(platform, plan, privilege)))
      await out.step(title, planned.length === 0 ? async () => 'unchanged' : run)

    const names = namesToCheck(platform)
    const { listen } = plan.dnsmasq
    await out.step(`Ask for ${names.length} names`, async () => {
      await verifyNames(() => checkServer(listen, names), logCommand(host))
      await verifyNames(() => checkThroughResolver(names))
      return 'unchanged'
    })
    out.summary(
      `Every name of ${platform.domain} resolves on this machine. Look: getent hosts grafana.${platform.domain}`,
    )
  },
})
