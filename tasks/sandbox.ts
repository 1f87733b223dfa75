#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { requireGroups } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { endSandbox, inUse } from '../lib/sandbox/namespace.ts'
import { requireSandboxMachine } from '../lib/sandbox/requirements.ts'
import { askInside, defaultName, execute, openShell, requireSandbox } from '../lib/sandbox/sandbox.ts'
import { sandboxOf } from '../lib/sandbox/start.ts'
import { livingSandbox, storeOf } from '../lib/sandbox/store.ts'

export default defineTask({
  name: 'sandbox',
  summary: 'Try the whole platform in a private copy of this machine',
  leaves: [
    "~/.cache/macula: programs, images and the layers of the sandbox's engine, so that the next start is quick; nothing else",
  ],
  undo: 'rm -r ~/.cache/macula; a kept sandbox ends with task sandbox -- --end',
  options: {
    exec: {
      type: 'string',
      value: 'CMD',
      help: 'run CMD with bash inside, pass on its output and exit code, then end',
    },
    only: { type: 'string', value: 'GROUP,…', help: 'only these groups of services, and infrastructure' },
    'no-cluster': { type: 'boolean', help: 'leave the cluster out' },
    keep: { type: 'boolean', help: 'leave it up, and say how to enter and end it' },
    enter: { type: 'boolean', help: 'open a shell in one that is up, or run --exec CMD in it' },
    end: { type: 'boolean', help: 'end one that is up' },
    name: { type: 'string', value: 'NAME', help: `one beside the sandbox '${defaultName}', with an engine of its own` },
    json: { type: 'boolean', help: 'print what is up as one JSON document' },
  },
  async run({ options, out, environment, onInterrupt }): Promise<number> {
    const { exec, only, name = defaultName } = options
    const paths = pathsOf(environment)
    const { cacheDir } = paths
    const store = storeOf(cacheDir, name)
    if (options.end) {
      const state = await requireSandbox(store)
      await out.step(`End the sandbox ${name}`, async () => {
        await endSandbox(store, state)
        return 'removed'
      })
      return 0
    }
    if (options.enter) {
      const state = await requireSandbox(store)
      return exec === undefined ? openShell(state) : execute(state, exec)
    }

    await requireSandboxMachine(cacheDir)
    if (only !== undefined) await requireGroups(paths, only.split(','), '--only')
    if (await livingSandbox(store)) throw await inUse(store)
    out.title(`Sandbox ${name}: a private copy of this machine, gone when it ends`)
    const cluster = !options['no-cluster']
    const sandbox = sandboxOf({ store, cacheDir, environment, only, cluster, warn: out.warn })
    onInterrupt(sandbox.end)
    try {
      await out.step('Raise the sandbox', progress => sandbox.raise(progress))
      await out.step('Have the images', progress => sandbox.supply(progress))
      let later = await sandbox.runWorkflow(['platform', '--yes'])
      while (later.length > 0) {
        out.say(`What is up can be used already: ${commandFor(name, '--enter')}`)
        await out.step(`Have the image of ${later.join(' or ')}`, progress => sandbox.supplyNext(later, progress))
        later = await sandbox.runWorkflow(['start-infrastructure', '--yes'])
      }
      if (cluster) {
        await out.step('Have the images of the cluster', progress => sandbox.supplyCluster(progress))
        await sandbox.runWorkflow(['cluster', '--yes'])
      }
      if (options.json) {
        const { stdout } = await askInside(sandbox.state, ['node', 'lib/cli/launch.mjs', 'status', '--json'])
        out.json({ sandbox: sandbox.state, ...JSON.parse(stdout) })
      } else if (exec === undefined) await execute(sandbox.state, 'node lib/cli/launch.mjs status')
      const exitCode = exec !== undefined ? await execute(sandbox.state, exec) : 0
      if (options.keep) {
        await sandbox.keep()
        out.summary(`It stays up: ${commandFor(name, '--enter')}, ${commandFor(name, '--end')}`)
      } else if (exec === undefined && out.interactive) {
        out.say('A shell inside; leave it with exit, and the sandbox is gone')
        return await openShell(sandbox.state)
      }
      return exitCode
    } catch (error) {
      // whoever wants it kept wants to look at it all the more
      if (options.keep && sandbox.isUp()) await sandbox.keep()
      throw error
    } finally {
      if (!options.keep) await sandbox.end()
    }
  },
})

function commandFor(name: string, option: string): string {
  return `task sandbox --${name === defaultName ? '' : ` --name ${name}`} ${option}`
}
