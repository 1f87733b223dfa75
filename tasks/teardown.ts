#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { removeFromUsers } from '../lib/cluster/merge-kubeconfig.ts'
import { removeNetwork } from '../lib/cluster/network.ts'
import { removeNodes } from '../lib/cluster/nodes.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { badInput, ExitCode } from '../lib/system/errors.ts'
import { acquireRoot, asRoot } from '../lib/system/privilege.ts'
import { describeLeftovers, leftovers, removeContainers, removeState, takeBack } from '../lib/teardown/teardown.ts'

export default defineTask({
  name: 'teardown',
  summary: 'Remove the platform and give the machine back as it was',
  leaves: ['.env, unless --purge', 'volumes with the data of the services, unless --volumes'],
  undo: 'task setup',
  options: {
    'dry-run': { type: 'boolean', help: 'only say what would be undone' },
    volumes: { type: 'boolean', help: 'delete the data of all services, too' },
    purge: { type: 'boolean', help: 'delete .env, too' },
  },
  async run({ options, yes, environment, out }) {
    const paths = pathsOf(environment)
    const volumes = options.volumes ?? false
    const found = await leftovers(paths)
    const lines = describeLeftovers(found, { volumes })
    if (options['dry-run']) {
      for (const line of lines) out.result(line)
      out.summary(lines.length === 0 ? 'Nothing would be undone.' : 'Nothing was undone (--dry-run).')
      return ExitCode.done
    }

    out.title('Teardown')
    for (const line of lines) out.say(`  ${line}`)
    if (lines.length > 0 && !yes) {
      if (!out.interactive) {
        const problem = { where: 'teardown', what: 'there is no terminal to ask on' }
        throw badInput('Undoing all this needs a yes', [problem], 'task teardown -- --yes')
      }
      if (!(await out.confirm('Undo all this?'))) return ExitCode.done
    }
    const need = {
      reason: 'put the files, packages and services of this machine back',
      commands: [],
      interactive: out.interactive,
      say: out.say,
    }
    const privilege = found.changes.length === 0 ? asRoot : await acquireRoot(need)

    if (found.nodes.length > 0) await out.step('Remove the cluster', () => removeNodes(found.nodes).then(removed))
    await removeFromUsers(paths)
    await removeNetwork(paths)
    let problems: string[] = []
    if (found.containers.length + found.networks.length > 0 || volumes)
      await out.step('Stop and remove the containers', async () => {
        problems = await removeContainers(found, { volumes })
        return problems.length === 0 ? 'removed' : 'removed in part'
      })
    if (found.unseen !== undefined)
      problems.push('Containers, networks and volumes come back with Docker; start it, then run this again')
    for (const problem of problems) out.warn(problem)
    let kept = 0
    let failed = problems.length
    await out.step('Put this machine back', async progress => {
      const undone = await takeBack(paths, privilege, ({ what, outcome }) => {
        if (outcome !== 'was so already') progress.line(`${what}: ${outcome}`)
      })
      kept = undone.filter(({ outcome }) => outcome.startsWith('left')).length
      failed += undone.filter(({ outcome }) => outcome.startsWith('failed')).length
      return undone.length === 0 ? 'unchanged' : 'restored'
    })
    if (kept + failed > 0) {
      if (kept > 0) out.warn(`${kept} left as somebody else made them; the journal keeps what was there before us`)
      if (failed > 0) out.warn(`${failed} could not be undone; run this again when the cause is gone`)
      out.summary(`The journal stays in ${paths.stateDir}.`)
      return failed > 0 ? ExitCode.failed : ExitCode.done
    }
    await out.step(`Remove ${paths.stateDir}`, () => removeState(paths, options.purge ?? false, privilege))
    out.summary(`This machine is as it was${found.volumes.length > 0 && !volumes ? ', but for the data volumes' : ''}.`)
    return ExitCode.done
  },
})

const removed = () => 'removed'
