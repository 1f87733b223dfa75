#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { resolve } from 'node:path'
import { defineTask } from '../lib/cli/task.ts'
import { clusterOf } from '../lib/cluster/cluster.ts'
import { ingressImage } from '../lib/cluster/ingress.ts'
import { nodeImage } from '../lib/cluster/kind.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { loadImages, saveImages, verifiedBy, wantedName } from '../lib/stack/image-files.ts'
import { mirrored, missingImages, pullImages } from '../lib/stack/image-store.ts'
import { startableNow } from '../lib/stack/stack.ts'
import { readImageArchives } from '../lib/supply/image-archive.ts'
import { badInput } from '../lib/system/errors.ts'
import { counted, table } from '../lib/system/text.ts'

export default defineTask({
  name: 'images',
  summary: 'List the images, or save and load them for a machine without a network',
  leaves: ['images in the Docker engine (pull, load); archives and a list of what is in them (save)'],
  undo: 'task teardown; delete the archives',
  options: {
    json: { type: 'boolean', help: 'print the list as JSON' },
  },
  positionals: '[pull | save FILE | save FOLDER/ | load PATH…]',
  async run({ options, positionals, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const images = [...new Set(platform.services.map(({ image }) => image))]
    const [action, file, ...rest] = positionals
    const isOurs = clusterOf(platform).kind === 'kind'
    // each under the name it has where it is used: mirrors are part of the cluster's names already
    const cluster = isOurs ? [nodeImage(platform.settings), await ingressImage(platform)] : []
    const all = [...images, ...cluster]
    const sourceOf = (image: string) =>
      cluster.includes(image) ? image : mirrored(image, platform.settings.IMAGE_MIRROR)

    if (action === undefined) {
      const missing = await missingImages(all)
      const rows = all.map(image => ({ image, present: !missing.includes(image) }))
      if (options.json) out.json({ images: rows })
      else
        out.result(
          table(
            ['IMAGE', 'IN THE ENGINE'],
            rows.map(({ image, present }) => [image, present ? 'yes' : 'no']),
          ),
        )
    } else if (action === 'pull' && file === undefined) {
      const now = startableNow(platform)
        .services.filter(({ isBuilt }) => !isBuilt)
        .map(({ image }) => image)
      await out.step('Pull images of services, nodes and ingress', async ({ update }) => {
        const missing = await missingImages([...now, ...cluster])
        if (missing.length === 0) return 'unchanged'
        await pullImages(missing, sourceOf, update)
        return counted(missing.length, 'image')
      })
      out.summary('To start with them: task start-infrastructure')
    } else if (action === 'save' && file !== undefined && rest.length === 0) {
      await out.step('Pull images', async ({ update }) => {
        const missing = await missingImages(all)
        if (missing.length === 0) return 'unchanged'
        await pullImages(missing, sourceOf, update)
        return counted(missing.length, 'image')
      })
      await out.step(`Save ${counted(all.length, 'image')} to ${resolve(file)}`, async progress => {
        const saved = await saveImages(all, file.endsWith('/') ? `${resolve(file)}/` : resolve(file))
        for (const { image, id, digest } of saved) progress.line(`${image}  ${digest ?? id}`)
        return 'created'
      })
      out.summary(`On the other machine: task images -- load ${file}`)
    } else if (action === 'load' && file !== undefined) {
      await out.step(`Load images from ${[file, ...rest].join(', ')}`, async progress => {
        const archives = await readImageArchives([file, ...rest].map(path => resolve(path)))
        const loaded = await loadImages(archives, all)
        for (const image of loaded) {
          const wanted = wantedName(all, image)
          const use = wanted === undefined ? 'nothing here uses it' : `verified by ${verifiedBy(wanted, image)}`
          progress.line(`${image.name}  ${image.outcome}; ${use}`)
        }
        const changed = loaded.filter(({ outcome }) => outcome !== 'unchanged')
        return changed.length === 0 ? 'unchanged' : `${changed.length} of ${counted(loaded.length, 'image')} new`
      })
      out.summary('To start with them: task start-infrastructure')
    } else {
      throw badInput(
        'images does not take these arguments',
        [
          {
            where: positionals.join(' '),
            what: 'should be `pull`, `save FILE`, `save FOLDER/`, `load PATH…`, or nothing',
          },
        ],
        'task images -- --help',
      )
    }
  },
})
