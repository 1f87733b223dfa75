// Brings up a bare sandbox with three containers, says what it is in one line of JSON, and waits to be ended: by SIGTERM, or by SIGKILL.

import { engineEnvironment, enginePrograms, startEngine } from '../../lib/sandbox/engine.ts'
import { shellInside, startNamespace } from '../../lib/sandbox/namespace.ts'
import { rememberSandbox } from '../../lib/sandbox/sandbox.ts'
import { storeOf } from '../../lib/sandbox/store.ts'

const [cacheDir = '', name = ''] = process.argv.slice(2)
const store = storeOf(cacheDir, name)
const programs = await enginePrograms({ cacheDir })
const namespace = await startNamespace(store, [store.folder])
const environment = engineEnvironment(programs, process.env.PATH ?? '')
const state = await rememberSandbox(store, namespace, environment)
await startEngine(namespace, { store, programs, environment })

// an image out of the machine's own files, because no other can be had quickly
const containers = `
  set -e
  folder=$(mktemp -d) && mkdir "$folder/bin" && cp /bin/sleep "$folder/bin/"
  ldd /bin/sleep | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$folder$(dirname "$library")" && cp -L "$library" "$folder$library"
  done
  docker image inspect runner:1 >/dev/null 2>&1 || tar -C "$folder" -c . | docker import - runner:1 >/dev/null
  rm -r "$folder"
  docker network create --subnet 172.23.0.0/16 runner >/dev/null
  for number in 1 2 3; do
    docker run --detach --restart unless-stopped --network runner --publish "127.0.0.3:900$number:80" \\
      --volume "runner-$number:/data" --name "runner-$number" runner:1 sleep 600 >/dev/null
  done`
await shellInside(namespace.init, { environment })`bash -c ${containers}`
process.stdout.write(`${JSON.stringify(state)}\n`)

process.once('SIGTERM', async () => {
  clearInterval(waiting)
  await namespace.end()
})
const waiting = setInterval(() => {}, 60_000)
