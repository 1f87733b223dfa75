#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { styleText } from 'node:util'
import { defineTask } from '../lib/cli/task.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { ExitCode } from '../lib/system/errors.ts'
import { counted, table } from '../lib/system/text.ts'
import type { CheckResult } from '../lib/verify/check.ts'
import { verifyPlatform } from '../lib/verify/verify.ts'

export default defineTask({
  name: 'verify',
  summary: 'Test every service from outside, under its documented name',
  leaves: [],
  undo: '',
  options: {
    json: {
      type: 'boolean',
      help: 'print { "checks": [...] } on stdout and nothing else there; "ok" is true, false, or null for not verified',
    },
  },
  async run({ options, out, environment, onInterrupt }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const started = performance.now()
    const checks = await verifyPlatform(platform, { onInterrupt })
    const failed = checks.filter(({ ok }) => ok === false)
    const unverified = checks.filter(({ ok }) => ok === null)
    if (options.json) {
      out.json({ checks })
    } else {
      const rows = checks.map(check => [mark(check, out.color), check.service, check.name, check.detail])
      out.result(table(['', 'SERVICE', 'CHECK', 'SEEN'], rows))
      for (const hint of new Set(failed.map(({ hint }) => hint))) out.say(`  → ${hint}`)
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      out.summary(
        [
          `${checks.length - failed.length - unverified.length} of ${counted(checks.length, 'check')} right`,
          `${failed.length} wrong`,
          `${unverified.length} not verified, in ${seconds} s`,
        ].join(', '),
      )
    }
    return failed.length === 0 ? ExitCode.done : ExitCode.failed
  },
})

function mark({ ok }: CheckResult, color: boolean): string {
  const [style, text] =
    ok === null ? (['yellow', '?'] as const) : ok ? (['green', '✓'] as const) : (['red', '✗'] as const)
  return color ? styleText(style, text) : text
}
