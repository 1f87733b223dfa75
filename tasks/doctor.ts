#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { styleText } from 'node:util'
import { defineTask } from '../lib/cli/task.ts'
import { allChecks, examineAddresses } from '../lib/doctor/checks.ts'
import { examine, type Finding } from '../lib/doctor/finding.ts'
import { describeState, nameOf } from '../lib/doctor/ports.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { inspectMachine } from '../lib/routes/choose.ts'
import { engineFacts } from '../lib/stack/engine.ts'
import { ExitCode } from '../lib/system/errors.ts'
import { detectHost } from '../lib/system/machine.ts'
import { describeHolder } from '../lib/system/ports.ts'
import { counted, table, usualColumns } from '../lib/system/text.ts'
import { early } from '../lib/system/wait.ts'

export default defineTask({
  name: 'doctor',
  summary: 'Check this machine for problems, without changing anything',
  leaves: [],
  undo: '',
  options: {
    ports: { type: 'boolean', help: 'list every address the platform listens on, and who holds it' },
    json: { type: 'boolean', help: 'print { "findings": [...] } on stdout and nothing else there' },
  },
  async run({ options, out, environment }) {
    // the slowest of all looks
    const facts = early(engineFacts())
    const [platform, machine] = await Promise.all([loadPlatform(pathsOf(environment), environment), inspectMachine()])
    const host = await detectHost(platform.settings.MACULA_OS)
    if (options.ports) {
      const states = await examineAddresses(platform, machine)
      if (options.json)
        out.json({
          addresses: states.map(state => ({
            ...state,
            holder: state.holder === undefined ? null : describeHolder(state.holder),
          })),
        })
      else
        out.result(
          table(
            ['ADDRESS', 'SERVICE', 'STATE'],
            states.map(state => [nameOf(state), state.service, describeState(state)]),
          ),
        )
      return states.some(({ state }) => state === 'taken') ? ExitCode.failed : ExitCode.done
    }
    const findings = await examine(allChecks(platform, machine, host, facts))
    const failed = findings.filter(({ state }) => state === 'fail').length
    const exitCode = failed > 0 ? ExitCode.failed : ExitCode.done
    if (options.json) {
      out.json({ findings: findings.map(({ hint, ...finding }) => ({ ...finding, hint: hint ?? null })) })
      return exitCode
    }

    out.result(
      table(
        ['CHECK', 'STATE', 'FOUND'],
        findings.map(finding => [finding.check, paint(finding, out.color), finding.detail]),
        usualColumns,
      ),
    )
    for (const { check, hint } of findings.filter(({ state, hint }) => state !== 'ok' && hint)) {
      out.say(`→ ${check}: ${hint?.replaceAll('\n', '\n    ')}`)
    }
    out.summary(
      failed === 0
        ? 'This machine is ready for a setup.'
        : `${counted(failed, 'check')} failed: a setup would stop there. Nothing was changed.`,
    )
    return exitCode
  },
})

function paint({ state }: Finding, color: boolean): string {
  return color ? styleText({ ok: 'green', warn: 'yellow', fail: 'red' }[state] as 'green', state) : state
}
