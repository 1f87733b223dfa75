import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import {
  configText,
  desiredConfig,
  differences,
  type KindConfig,
  mergeLocal,
  phaseOf,
} from '../../../lib/cluster/kind.ts'
import { kubernetesMinorOf, oldestKindFor, requireCgroupFor } from '../../../lib/cluster/versions.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'

import { examplePaths, goodPlatform } from '../../helpers/platform.ts'
import { shellOf } from '../../helpers/shell.ts'

const config: KindConfig = { name: 'macula', nodes: [{ role: 'control-plane', image: 'node:1' }] }

describe('the kind config', () => {
  it('listens on loopback addresses only', async () => {
    const { nodes } = await desiredConfig(await goodPlatform())
    assert.deepEqual(
      nodes[0]?.extraPortMappings?.map(
        ({ listenAddress, hostPort, protocol }) => `${listenAddress}:${hostPort}/${protocol}`,
      ),
      ['127.0.0.1:8080/TCP', '127.0.0.1:8443/TCP', '127.0.0.2:4433/UDP'],
    )
  })

  it("takes the applications' own ports where nothing else could lead them to the node", async () => {
    const { nodes } = await desiredConfig(await goodPlatform(), true)
    assert.deepEqual(
      nodes[0]?.extraPortMappings
        ?.slice(3)
        .map(({ listenAddress, hostPort, containerPort }) => `${listenAddress}:${hostPort} → ${containerPort}`),
      ['127.0.0.2:80 → 80', '127.0.0.2:443 → 443'],
    )
  })

  it('follows the settings', async () => {
    const settings = {
      CLUSTER_NAME: 'other',
      CLUSTER_WORKERS: '2',
      KIND_NODE_IMAGE: 'kindest/node:v1.34.4',
      INGRESS_HTTP_PORT: '9080',
      MACULA_LOOPBACK: '127.0.0.11',
    }
    const { name, nodes } = await desiredConfig(await goodPlatform({ settings }))
    assert.equal(name, 'other')
    assert.deepEqual(
      nodes.map(({ role, image }) => `${role} ${image}`),
      ['control-plane kindest/node:v1.34.4', 'worker kindest/node:v1.34.4', 'worker kindest/node:v1.34.4'],
    )
    assert.equal(nodes[0]?.extraPortMappings?.[0]?.hostPort, 9080)
    assert.equal(nodes[0]?.extraPortMappings?.[0]?.listenAddress, '127.0.0.11')
    assert.equal(nodes[0]?.extraPortMappings?.[2]?.listenAddress, '127.0.0.12')
  })

  it('takes the node image through the mirror that is set', async () => {
    const { nodes } = await desiredConfig(await goodPlatform({ settings: { IMAGE_MIRROR: 'mirror.test/hub' } }))
    assert.match(nodes[0]?.image ?? '', /^mirror\.test\/hub\/kindest\/node:v1/)
  })

  it("takes a user's own file in", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'macula-kind-'))
    try {
      await writeFile(join(folder, 'kind.local.yaml'), 'featureGates: { KubeletInUserNamespace: true }\n')
      const merged = await desiredConfig(await goodPlatform({ paths: examplePaths(folder) }))
      assert.deepEqual(merged.featureGates, { KubeletInUserNamespace: true })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('merges nodes one by one and puts lists behind ours', () => {
    const base = {
      ...config,
      nodes: [{ role: 'control-plane', extraMounts: [{ hostPath: '/a' }], labels: { one: '1' } }],
    }
    const local = 'nodes:\n  - extraMounts: [{ hostPath: /b }]\n    labels: { two: "2" }\n  - role: worker\n'
    assert.deepEqual(mergeLocal(base as unknown as KindConfig, local, 'kind.local.yaml').nodes, [
      {
        role: 'control-plane',
        extraMounts: [{ hostPath: '/a' }, { hostPath: '/b' }],
        labels: { one: '1', two: '2' },
      },
      { role: 'worker' },
    ])
  })

  it("says in which line a user's file is not YAML", () => {
    assert.throws(
      () => mergeLocal(config, 'featureGates:\n  a: [1\nb: 2\n', 'kind.local.yaml'),
      (error: PlatformError) => error.exitCode === 2 && /kind\.local\.yaml:[23]: /.test(error.why ?? ''),
    )
  })

  it('does not let a file rename the cluster', () => {
    assert.throws(
      () => mergeLocal(config, 'name: mine\n', 'kind.local.yaml'),
      (error: PlatformError) => /CLUSTER_NAME/.test(error.why ?? ''),
    )
  })

  it('survives being written and read', async () => {
    const wanted = await desiredConfig(await goodPlatform())
    assert.deepEqual(differences(parse(configText(wanted)), wanted), [])
  })
})

describe('the comparison of two configs', () => {
  it('names each place with what it was and what it should be', () => {
    const wanted = {
      ...config,
      nodes: [{ role: 'control-plane', image: 'node:2' }, { role: 'worker' }],
      networking: { ipFamily: 'ipv4' },
    }
    assert.deepEqual(differences(config, wanted), [
      'nodes.0.image: node:1 → node:2',
      'nodes.1: nothing → {"role":"worker"}',
      'networking: nothing → {"ipFamily":"ipv4"}',
    ])
  })
})

describe("kind's words", () => {
  it('become phases without their pictures', () => {
    assert.equal(phaseOf(' • Preparing nodes 📦   ...'), 'Preparing nodes    ...')
    assert.equal(phaseOf(' ✓ Starting control-plane 🕹️'), 'Starting control-plane')
    assert.equal(phaseOf('Have a nice day! 👋'), undefined)
  })
})

describe('versions', () => {
  it('reads the Kubernetes version of a node image, with or without a digest', () => {
    assert.equal(kubernetesMinorOf('kindest/node:v1.35.8@sha256:07b2'), 35)
    assert.equal(kubernetesMinorOf('registry:5000/kindest/node:v1.34.4'), 34)
    assert.equal(kubernetesMinorOf('kindest/node:latest'), undefined)
  })

  it('asks for a kind that knows the node image', () => {
    assert.deepEqual(oldestKindFor('kindest/node:v1.37.0'), [0, 33])
    assert.deepEqual(oldestKindFor('kindest/node:v1.36.4'), [0, 32])
    assert.deepEqual(oldestKindFor('kindest/node:v1.30.0'), [0, 27])
  })

  const dockerSays = (version: string) => shellOf(() => `${version}\n`)

  it('refuses Kubernetes 1.35 on cgroup v1 before anything is made', async () => {
    await assert.rejects(
      requireCgroupFor('kindest/node:v1.35.8', dockerSays('1')),
      (error: PlatformError) => /cgroup v1/.test(error.message) && /KIND_NODE_IMAGE/.test(error.hint ?? ''),
    )
    await requireCgroupFor('kindest/node:v1.34.4', dockerSays('1'))
    await requireCgroupFor('kindest/node:v1.35.8', dockerSays('2'))
  })
})
