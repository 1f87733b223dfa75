#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { changeMachine } from '../lib/cli/change.ts'
import { defineTask } from '../lib/cli/task.ts'
import { configPath } from '../lib/dns/config.ts'
import {
  answersWith,
  dnsmasqPath,
  installedDnsmasq,
  logCommand,
  runDaemon,
  unitName,
  writeUnit,
} from '../lib/dns/daemon.ts'
import {
  dnsScope,
  foreignDns,
  installDnsmasq,
  planDns,
  pointResolver,
  removeLostDns,
  requireChangeable,
  resolverScope,
  undoOtherResolvers,
  writeConfig,
} from '../lib/dns/setup.ts'
import { checkServer, checkThroughResolver, namesToCheck, verifyNames } from '../lib/dns/verify.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { $ } from '../lib/system/exec.ts'
import { detectHost } from '../lib/system/machine.ts'

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
  options: {
    'dry-run': { type: 'boolean', onlyLooks: true, help: 'only say what would be changed on this machine' },
    adopt: { type: 'boolean', help: 'take over what this checkout set up before its state folder was lost' },
  },
  async run({ options, yes, environment, out }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const { domain, paths } = platform
    const host = await detectHost(platform.settings.MACULA_OS)
    const change = {
      task: 'setup-dnsmasq',
      out,
      paths,
      yes,
      adopt: options.adopt ?? false,
      dryRun: options['dry-run'] ?? false,
      title: `Names of ${domain}`,
      reason: 'change how this machine resolves names',
    }
    const done = await changeMachine(
      change,
      async ({ open, step, owner, privilege, isPreview, dryRun, requireOurs }) => {
        const dns = open(dnsScope)
        const lost = await foreignDns(platform, owner)
        requireOurs(lost)
        await removeLostDns(lost, dns)
        // which resolver decides on this machine, where dnsmasq can listen, what its configuration says
        let plan = await planDns(platform, host, owner)
        // where nothing is to be done, nothing has to be writable
        if (!dryRun) await requireChangeable(plan, privilege)
        if ((await undoOtherResolvers(plan.adapter, open)).length > 0 && !isPreview)
          plan = await planDns(platform, host, owner)
        const { adapter, config, listen } = plan
        const isCurrent = () => answersWith(listen, config.version)

        await step('Install dnsmasq', () => installDnsmasq(host, dns))
        const dnsmasq = await installedDnsmasq()

        await step(`Write ${configPath}: ${platform.names.length} names and *.${domain}`, async () => {
          if (dnsmasq) await $({ input: config.text })`${dnsmasq} --test --conf-file=-`
          return writeConfig(plan, dns)
        })

        await step(`Restart dnsmasq on ${listen.ip}:${listen.port}`, async () => {
          const program = dnsmasq ?? dnsmasqPath
          if (host.init !== 'systemd') return runDaemon(host, program, owner, isCurrent, dns)
          const unit = await writeUnit(program, domain, owner, dns)
          if (unit.isOutdated) await dns.$`systemctl daemon-reload`
          const [enabled] = await dns.enableUnits([{ unit: unitName }]) // systemctl enable --now
          if (enabled === 'created') return 'created'
          if (!unit.isOutdated && !unit.runsOtherwise && enabled === 'unchanged' && (await isCurrent()))
            return 'unchanged'
          await dns.$`systemctl restart ${unitName}`
          return 'updated'
        })

        await step(`Point the resolver at dnsmasq: ${adapter.title}`, () =>
          pointResolver(platform, plan, open(resolverScope(adapter))),
        )

        if (isPreview) return
        const names = namesToCheck(platform)
        await step(`Look up ${names.length} names`, async () => {
          await verifyNames(() => checkServer(listen, names), logCommand(host))
          await verifyNames(() => checkThroughResolver(names))
          return 'unchanged'
        })
      },
    )
    if (done) out.summary(`Every name of ${domain} resolves on this machine. Look: getent hosts grafana.${domain}`)
  },
})
