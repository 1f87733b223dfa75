import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { within, $ as zx } from 'zx/core'
import {
  beginCreation,
  endCreation,
  findCluster,
  foreignError,
  ownNodes,
  recordedNodes,
} from '../../../lib/cluster/ownership.ts'
import { recordOwned } from '../../../lib/platform/installation.ts'
import { nodeNamed, type TasksBesideCluster, tasksBesideCluster } from '../../helpers/foreign-cluster.ts'
import { examplePaths, goodPlatform } from '../../helpers/platform.ts'

describe('whose a KinD cluster is', () => {
  let tasks: TasksBesideCluster | undefined
  afterEach(() => tasks?.remove())

  async function beside<T>(
    options: Parameters<typeof tasksBesideCluster>[1],
    action: (platform: Awaited<ReturnType<typeof goodPlatform>>) => Promise<T>,
  ): Promise<T> {
    tasks = await tasksBesideCluster('macula', options)
    const paths = { ...examplePaths(tasks.folder), stateDir: tasks.stateDir }
    const platform = await goodPlatform({ paths })
    const path = `${tasks.folder}:${zx.env.PATH}`
    return within(async () => {
      zx.env = { ...zx.env, PATH: path }
      return action(platform)
    })
  }

  it('ours, where its container ids are recorded', async () => {
    await beside({}, async platform => {
      await recordOwned(platform.paths, 'node', ['f00d'])
      assert.deepEqual(
        (await ownNodes(platform)).map(({ name }) => name),
        ['macula-control-plane'],
      )
      assert.deepEqual(
        (await recordedNodes(platform.paths)).map(({ id }) => id),
        ['f00d'],
      )
    })
  })

  it("somebody else's, where they deleted ours and created one of the same name", async () => {
    await beside({}, async platform => {
      await recordOwned(platform.paths, 'node', ['dead'])
      const { nodes, foreign } = await findCluster(platform)
      assert.deepEqual([nodes, foreign?.name, foreign?.folder], [[], 'macula', undefined])
    })
  })

  it('ours, where our attempt to create it was interrupted', async () => {
    await beside({ node: nodeNamed('macula', { createdAt: Date.now() + 1000 }) }, async platform => {
      await beginCreation('macula', platform.paths)
      assert.equal((await ownNodes(platform)).length, 1)
      assert.equal((await recordedNodes(platform.paths)).length, 1)
      await endCreation(platform.paths)
      await assert.rejects(ownNodes(platform), /was not created by this installation/)
      assert.deepEqual(await recordedNodes(platform.paths), [])
    })
  })

  it("somebody else's, where it was created long after our interrupted attempt, or has another name than that", async () => {
    await beside({ node: nodeNamed('macula', { createdAt: Date.now() + 3_600_000 }) }, async platform => {
      await beginCreation('macula', platform.paths)
      await assert.rejects(ownNodes(platform), /was not created by this installation/)
      await beginCreation('other', platform.paths)
      await assert.rejects(ownNodes(platform), /was not created by this installation/)
    })
  })

  it('offers to take over only one that was created from this state folder', async () => {
    await beside({ mark: '{"folder":"/elsewhere/.macula"}' }, async platform => {
      const { foreign } = await findCluster(platform)
      assert.ok(foreign)
      assert.doesNotMatch(foreignError(foreign, platform.paths).hint ?? '', /--adopt/)
      await writeFile(
        join(tasks!.folder, 'on-node', 'macula.json'),
        JSON.stringify({ folder: platform.paths.stateDir }),
      )
      const own = await findCluster(platform)
      assert.ok(own.foreign)
      assert.match(foreignError(own.foreign, platform.paths).hint ?? '', /task setup-cluster -- --adopt/)
    })
  })

  it('takes one of an earlier release for that of this folder where the kubeconfig here is its own', async () => {
    await beside({}, async platform => {
      await mkdir(platform.paths.stateDir, { recursive: true })
      const authority = Buffer.from('CERTIFICATE').toString('base64')
      await writeFile(join(platform.paths.stateDir, 'kubeconfig'), `    certificate-authority-data: ${authority}\n`)
      assert.equal((await findCluster(platform)).foreign?.folder, undefined)
      await writeFile(join(tasks!.folder, 'on-node', 'ca.crt'), 'CERTIFICATE')
      const docker = join(tasks!.folder, 'docker')
      const ca = `'cp f00d:/etc/kubernetes/pki/ca.crt -') tar -c -C ${tasks!.folder}/on-node ca.crt;;`
      await tasks!.docker(`${ca}
        'ps --all'*) echo f00d;;
        'inspect --type container '*) cat ${tasks!.folder}/node.json;;
        'cp '*) exit 1;;`)
      assert.equal((await findCluster(platform)).foreign?.folder, platform.paths.stateDir)
      await rm(docker)
    })
  })
})
