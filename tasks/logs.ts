#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { loggedInCluster, showClusterLogs } from '../lib/cluster/logs.ts'
import { loadPlatform, type Platform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { compose, requireRenderedFiles } from '../lib/stack/compose.ts'
import { requireOwnContainers } from '../lib/stack/ownership.ts'
import { badInput } from '../lib/system/errors.ts'

export default defineTask({
  name: 'logs',
  summary: 'Show the logs of services and applications',
  leaves: [],
  undo: '',
  positionals: '[SERVICE or APPLICATION…]',
  options: {
    follow: { type: 'boolean', short: 'f', help: 'go on with new lines, until Ctrl-C' },
    tail: { type: 'string', value: 'N', help: "lines of each service, or 'all' (100)" },
  },
  async run({ options, positionals, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const tail = options.tail ?? '100'
    requireArguments(platform, positionals, tail)
    const inCluster = positionals.filter(name => loggedInCluster(platform).includes(name))
    const services = positionals.filter(name => !inCluster.includes(name))
    const follow = options.follow ?? false
    const shown = inCluster.map(name => showClusterLogs(platform, name, { tail, follow }))
    if (services.length > 0 || inCluster.length === 0) {
      await requireOwnContainers(platform)
      await requireRenderedFiles(platform)
      const flags = follow ? ['--follow'] : []
      const logs = compose(platform)({ inherit: true })`docker compose logs --tail ${tail} ${flags} ${services}`
      shown.push(logs.then(() => {}))
    }
    await Promise.all(shown)
  },
})

function requireArguments(platform: Platform, wanted: readonly string[], tail: string): void {
  const known = [...platform.services.map(({ name }) => name), ...loggedInCluster(platform)]
  const problems = wanted
    .filter(name => !known.includes(name))
    .map(name => ({ where: name, what: `is neither a service nor an application; known: ${known.join(', ')}` }))
  if (!/^(\d+|all)$/.test(tail)) problems.push({ where: '--tail', what: `${tail} should be a number of lines, or all` })
  if (problems.length > 0) throw badInput('These logs cannot be shown', problems)
}
