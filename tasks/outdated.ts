#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { pinnedIngressImages } from '../lib/cluster/ingress.ts'
import { readEnvFile } from '../lib/platform/env-file.ts'
import { composeImages } from '../lib/platform/platform.ts'
import { defaultSettings, pathsOf } from '../lib/platform/settings.ts'
import { mirrored } from '../lib/stack/image-store.ts'
import { outdatedImages, outdatedPackages, outdatedPrograms } from '../lib/supply/outdated.ts'
import { ExitCode } from '../lib/system/errors.ts'
import { counted, table } from '../lib/system/text.ts'

export default defineTask({
  name: 'outdated',
  summary: 'Compare every pinned version with what its publisher has',
  leaves: [],
  undo: '',
  options: {
    json: { type: 'boolean', help: 'print the list as JSON' },
  },
  async run({ options, out, environment }): Promise<number> {
    const paths = pathsOf(environment)
    const { KIND_NODE_IMAGE, IMAGE_MIRROR } = { ...(await defaultSettings()), ...(await readEnvFile(paths)).values }
    const images = [...(await composeImages(paths)), KIND_NODE_IMAGE, ...(await pinnedIngressImages())]
    const pins = (
      await Promise.all([
        outdatedImages(images, { mirrored: image => mirrored(image, IMAGE_MIRROR) }),
        outdatedPrograms(),
        outdatedPackages(),
      ])
    ).flat()
    const of = (state: string) => pins.filter(pin => pin.state === state)
    if (options.json) out.json({ pins })
    else {
      const rows = pins
        .filter(({ state }) => state !== 'current')
        .map(({ kind, name, pinned, newest = '', state, detail }) => [kind, name, pinned, newest, state, detail])
      if (rows.length > 0) out.result(table(['KIND', 'NAME', 'PINNED', 'NEWEST', 'STATE', ''], rows))
      const [newer, changed, unreached] = [of('newer'), of('digest changed'), of('not reached')]
      out.summary(
        `${counted(pins.length, 'pin')}: ${of('current').length} current, ${newer.length} outdated, ${counted(changed.length, 'changed digest')}, ${unreached.length} not reached`,
      )
    }
    // what could not be reached is not known to be current
    return of('not reached').length > 0 ? ExitCode.failed : ExitCode.done
  },
})
