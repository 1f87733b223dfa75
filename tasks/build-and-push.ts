#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { unusedSources } from '../lib/cluster/application-images.ts'
import { buildAll, changedIn, requireSources } from '../lib/cluster/build.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'

// For each application: docker build --tag localhost:5001/macula/NAME:dev SOURCE && docker push localhost:5001/macula/NAME:dev

export default defineTask({
  name: 'build-and-push',
  summary: "Build the applications' images and push them to the registry",
  replaces: 'scripts/build-and-push.sh',
  leaves: ['images in the Docker engine and in the registry', '.macula/cluster/build: the output of the builds'],
  undo: 'docker image rm …; images in the registry can be deleted on its page',
  options: {},
  positionals: '[APPLICATION…]',
  async run({ positionals, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    for (const setting of await unusedSources(platform)) out.warn(`${setting} in .env belongs to no application`)
    const sources = await requireSources(platform, positionals)
    await out.step(`Build and push ${sources.map(({ application }) => application).join(', ')}`, async progress =>
      changedIn(await buildAll(platform, sources, progress)),
    )
    out.summary('Deploy them: task deploy-apps')
  },
})
