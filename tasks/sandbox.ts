#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { join, resolve } from 'node:path'
import { defineTask } from '../lib/cli/task.ts'
import { requireGroups } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import {
  failedServices,
  freeSpace,
  isClusterToCome,
  servicesToCome,
  supplyApplicationBase,
  supplyCluster,
  supplyNext,
} from '../lib/sandbox/later.ts'
import { newSandbox, requireUp } from '../lib/sandbox/making.ts'
import { endSandbox, inUse } from '../lib/sandbox/namespace.ts'
import { pruneCache } from '../lib/sandbox/prune.ts'
import { requireSandboxMachine } from '../lib/sandbox/requirements.ts'
import { defaultName, execute, openShell, requireSandbox, sandboxShell } from '../lib/sandbox/sandbox.ts'
import { keepSandbox, runWorkflow, startSandbox, stopSandbox, supplySandbox } from '../lib/sandbox/start.ts'
import { livingSandbox, storeOf } from '../lib/sandbox/store.ts'
import { type ImageArchive, lookAtImageArchives, readImageArchives } from '../lib/supply/image-archive.ts'
import { sizeOf } from '../lib/supply/sizes.ts'
import { badInput, ExitCode, messageOf, PlatformError } from '../lib/system/errors.ts'
import { exists } from '../lib/system/files.ts'
import { bytes as size } from '../lib/system/text.ts'

export default defineTask({
  name: 'sandbox',
  summary: 'Try the whole platform in a private copy of this machine',
  leaves: [
    "~/.cache/macula: programs, images and the layers of the sandbox's engine, so that the next start is quick; nothing else",
  ],
  locks: false,
  undo: 'rm -r ~/.cache/macula; a kept sandbox ends with task sandbox -- --end',
  options: {
    exec: {
      type: 'string',
      value: 'CMD',
      help: 'run CMD with bash inside, pass on its output and exit code, then end',
    },
    only: { type: 'string', value: 'GROUP,…', help: 'only these groups of services, and infrastructure' },
    'no-cluster': { type: 'boolean', help: 'leave the cluster out' },
    images: {
      type: 'string',
      value: 'PATH…',
      help: 'use the images in these files or folders before any is pulled or built; those in ~/.cache/macula/images are used anyway',
    },
    keep: { type: 'boolean', help: 'leave it up, and say how to enter and end it' },
    enter: { type: 'boolean', help: 'open a shell in one that is up, or run --exec CMD in it' },
    end: { type: 'boolean', help: 'end one that is up' },
    prune: { type: 'boolean', help: "remove what the next start does not need, other sandboxes' images too" },
    name: { type: 'string', value: 'NAME', help: `one beside the sandbox '${defaultName}', with an engine of its own` },
    json: { type: 'boolean', help: 'print what is up as one JSON document' },
  },
  positionals: '',
  async run({ options, positionals, out, environment, onInterrupt }): Promise<number> {
    const { exec, only, name = defaultName } = options
    if (positionals.length > 0 && options.images === undefined)
      throw badInput('sandbox does not take these arguments', [
        { where: positionals.join(' '), what: 'only --images takes more than one word' },
      ])
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
    if (options.prune) {
      await out.step('Remove what the next start does not need', async progress => {
        const removed = await pruneCache(cacheDir, name)
        for (const { what, bytes } of removed) progress.line(`${size(bytes).padStart(8)}  ${what}`)
        return removed.length === 0 ? 'unchanged' : size(removed.reduce((sum, { bytes }) => sum + bytes, 0))
      })
      out.summary(`${size(await sizeOf(cacheDir))} stay in ${cacheDir}`)
      return 0
    }
    if (options.enter) {
      const state = await requireSandbox(store)
      return exec === undefined ? openShell(state) : execute(state, exec)
    }

    await requireSandboxMachine(cacheDir, name)
    if (only !== undefined) await requireGroups(paths, only.split(','), '--only')
    if (await livingSandbox(store)) throw await inUse(store)
    const archives = await imageArchives([options.images ?? [], positionals].flat(), cacheDir, out.warn)
    out.title(`Sandbox ${name}: a private copy of this machine, gone when it ends`)
    const cluster = !options['no-cluster']
    const sandbox = newSandbox({ store, cacheDir, environment, only, cluster, archives, warn: out.warn })
    onInterrupt(() => stopSandbox(sandbox))
    try {
      await out.step('Start the sandbox', progress => startSandbox(sandbox, progress))
      await out.step('Get the images', progress => supplySandbox(sandbox, progress))
      await runWorkflow(sandbox, ['platform', '--yes'])
      for (let later = servicesToCome(sandbox); later.length > 0; later = servicesToCome(sandbox)) {
        out.say(`Already usable while the rest starts: ${commandFor(name, '--enter')}`)
        const what = later.length > 3 ? `the next of ${later.length} images` : `the image of ${later.join(' or ')}`
        await out.step(`Get ${what}`, progress => supplyNext(sandbox, progress))
        await runWorkflow(sandbox, ['start-infrastructure', '--yes'])
      }
      for (const { service, error, instead } of failedServices(sandbox)) {
        const outcome = instead === 'placeholder' ? 'is a placeholder that only says it is healthy' : 'is left out'
        out.warn(
          `${service} ${outcome}, because its image could not be made; everything else goes on\n  ${reasonOf(error)}`,
        )
      }
      if (isClusterToCome(sandbox)) {
        let canBuild = false
        await out.step('Get the image that applications start from', async progress => {
          canBuild = await supplyApplicationBase(sandbox, progress)
          return canBuild ? 'unchanged' : 'lacking'
        })
        if (canBuild) await runWorkflow(sandbox, ['build-and-push', '--yes'])
      }
      let lacksCluster = false
      let freed = Promise.resolve(0)
      if (cluster) {
        try {
          await out.step('Get the images of the cluster', progress => supplyCluster(sandbox, progress))
          freed = freeSpace(sandbox).catch(error => {
            out.warn(`Go's caches stay: ${messageOf(error)}`)
            return 0
          })
        } catch (error) {
          if (!(error instanceof PlatformError)) throw error
          lacksCluster = true
          out.warn(
            `The cluster is left out, because its images could not be made; everything else goes on\n  ${reasonOf(error)}`,
          )
        }
        if (!lacksCluster) await runWorkflow(sandbox, ['cluster', '--yes'])
      }
      if ((await freed) > 0) out.say(`Removed Go's caches: ${size(await freed)}`)
      const { state } = requireUp(sandbox)
      if (options.json) {
        const status: object = await sandboxShell(state)`node lib/cli/launch.mjs status --json`.json()
        out.json({ sandbox: state, ...status })
      } else if (exec === undefined) await execute(state, 'node lib/cli/launch.mjs status')
      const exitCode = exec !== undefined ? await execute(state, exec) : lacksCluster ? ExitCode.failed : ExitCode.done
      if (options.keep) {
        await keepSandbox(sandbox)
        out.summary(`It stays up: ${commandFor(name, '--enter')}, ${commandFor(name, '--end')}`)
      } else if (exec === undefined && out.interactive) {
        out.say('A shell inside; leave it with exit, and the sandbox is gone')
        return await openShell(state)
      }
      return exitCode
    } catch (error) {
      // after a failure there is all the more to look at
      if (options.keep && sandbox.up) await keepSandbox(sandbox)
      throw error
    } finally {
      if (!options.keep) await stopSandbox(sandbox)
    }
  },
})

/** What is in the files that were named, where everything has to be right, and in the user's folder for images, of which what is wrong is said. */
async function imageArchives(
  named: readonly string[],
  cacheDir: string,
  warn: (text: string) => void,
): Promise<ImageArchive[]> {
  const own = join(cacheDir, 'images')
  const found = (await exists(own)) ? await lookAtImageArchives([own]) : { archives: [], problems: [] }
  for (const { where, what } of found.problems) warn(`${where} ${what}; it is not used`)
  return [...(await readImageArchives(named.map(path => resolve(path)))), ...found.archives]
}

function reasonOf(error: Error): string {
  return [error.message, error instanceof PlatformError ? (error.why ?? '') : ''].filter(Boolean).join('\n  ')
}

function commandFor(name: string, option: string): string {
  return `task sandbox --${name === defaultName ? '' : ` --name ${name}`} ${option}`
}
