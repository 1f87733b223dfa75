import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type StubbedTasks, stubbedTasks } from './stub-docker.ts'

/** A KinD node as the engine describes it. */
export function nodeNamed(
  cluster: string,
  { id = 'f00d', running = true, createdAt = Date.now() - 3 * 86_400_000 } = {},
) {
  return {
    Id: id,
    Name: `/${cluster}-control-plane`,
    Created: new Date(createdAt).toISOString(),
    State: { Running: running },
    Config: {
      Image: 'kindest/node:v1.37.0',
      Labels: { 'io.x-k8s.kind.cluster': cluster, 'io.x-k8s.kind.role': 'control-plane' },
    },
    HostConfig: { RestartPolicy: { Name: 'on-failure' } },
    NetworkSettings: { Networks: {} },
  }
}

export interface TasksBesideCluster extends StubbedTasks {
  /** What changed something: calls of docker that do not only look, all of kind but for its version, all of kubectl but for its version. */
  changes(): Promise<string[]>
}

/**
 * Tasks on a machine whose engine has a KinD cluster of that name. `mark` is what its node says about who created it; `infrastructure` whether the
 * services' network exists.
 */
export async function tasksBesideCluster(
  cluster: string,
  {
    mark = '',
    node = nodeNamed(cluster),
    settings = {},
  }: { mark?: string; node?: object; settings?: Record<string, string> } = {},
): Promise<TasksBesideCluster> {
  const tasks = await stubbedTasks({ KIND_NODE_IMAGE: 'kindest/node:v1.37.0', CLUSTER_NAME: cluster, ...settings })
  const { folder } = tasks
  await writeFile(join(folder, 'node.json'), JSON.stringify([node]))
  await mkdir(join(folder, 'on-node'), { recursive: true })
  if (mark !== '') await writeFile(join(folder, 'on-node', 'macula.json'), mark)
  const id = (node as { Id: string }).Id
  await tasks.docker(`
    version*) echo 29.10.0;;
    info*) echo 2;;
    'compose version --short') echo 5.6.0;;
    compose*) cat;;
    'ps --all'*io.x-k8s.kind.cluster=${cluster}) echo ${id};;
    'inspect --type container '*${id}*) cat ${folder}/node.json;;
    'network inspect'*) echo 4711;;
    'cp ${id}:/kind/macula.json -') tar -c -C ${folder}/on-node macula.json 2>/dev/null;;
    'cp '*) exit 1;;
    ps*|inspect*|'image inspect'*|'container inspect'*|*' ls'*) ;;
    *) echo "docker $*" >>${folder}/changes;;`)
  const program = (name: string, version: string) =>
    writeFile(
      join(folder, name),
      `#!/bin/sh\ncase "$*" in version*) echo '${version}';; *) echo "${name} $*" >>${folder}/changes;; esac\n`,
      { mode: 0o755 },
    )
  await program('kind', '0.33.0')
  await program('kubectl', '{"clientVersion":{"gitVersion":"v1.35.8"}}')
  const changes = async () =>
    (await readFile(join(folder, 'changes'), 'utf8').catch(() => '')).split('\n').filter(Boolean)
  return { ...tasks, changes }
}
