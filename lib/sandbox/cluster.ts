import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { ingressImage } from '../cluster/ingress.ts'
import { requireKubectl } from '../cluster/versions.ts'
import { readEnvFile, writeEnvFile } from '../platform/env-file.ts'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import { type Paths, pathsOf, type SettingName } from '../platform/settings.ts'
import { ensureBuilt, type SupplyOptions } from '../supply/cache.ts'
import { releases, supplyRelease } from '../supply/releases.ts'
import { ensureProgram } from './programs.ts'
import { programRecipe } from './recipes.ts'
import { type Inside, sandboxShell } from './sandbox.ts'
import { announceStandIns, ensureStandIns, type StandInOptions } from './standins.ts'

/** What the bundled applications are built on. */
export const applicationBase = 'node:24-alpine'

/** The images that a cluster of these settings consists of: its nodes, and its ingress controller. */
export async function clusterImages(platform: Platform): Promise<string[]> {
  return [platform.settings.KIND_NODE_IMAGE, await ingressImage(platform)]
}

/** Which of them have to be made here, where these could not be had. */
export async function clusterStandIns(platform: Platform, lacking: readonly string[]): Promise<ClusterStandIns> {
  const [nodes, ingress] = (await clusterImages(platform)).map(image => lacking.includes(image))
  return { nodes: nodes === true, ingress: ingress === true }
}

/**
 * Has a kubectl inside where the machine has none that will do: the one that was compiled for the nodes where they were made here, else the
 * release that setup-cluster would install on a machine.
 */
export async function bringKubectl(inside: Inside, madeNodes: boolean, options: SupplyOptions): Promise<void> {
  const $ = sandboxShell(inside)
  const found = await requireKubectl($).catch(() => undefined)
  if (found !== undefined) return
  const { recipe, version } = releases.kubectl
  const folder = madeNodes
    ? await ensureProgram('kubernetes', options)
    : await ensureBuilt(
        {
          name: 'kubectl',
          inputs: { recipe, version },
          build: (folder, report) => supplyRelease('kubectl', folder, options.cacheDir, { report, anyGo: true }),
        },
        options,
      )
  await $`ln -sf ${join(folder, 'kubectl')} /usr/local/bin/kubectl`
}

/** Has the user's own additions to the kind config inside, with what the sandbox itself adds to them. */
export async function writeKindFile(inside: Paths, additions: object): Promise<void> {
  const own = await readFile(pathsOf({}).localKindFile, 'utf8').catch(() => '')
  const merged = { ...(parse(own) as object | null), ...additions }
  await writeIfChanged(inside.localKindFile, stringify(merged))
}

/** Which images of a cluster are made here. */
export interface ClusterStandIns {
  nodes: boolean
  ingress: boolean
}

/**
 * Lets the sandbox's settings name what can be made without a registry in the place of what could not be had: the newest Kubernetes that still starts
 * on cgroup v1, and Traefik, both compiled here. The kubelet does without rights that this machine may lack.
 */
export async function settleForStandIns(inside: Paths, { nodes, ingress }: ClusterStandIns): Promise<void> {
  const { values } = await readEnvFile(inside)
  const standIns: Partial<Record<SettingName, string>> = {
    ...(nodes ? { KIND_NODE_IMAGE: await nodeImage() } : {}),
    ...(ingress ? { INGRESS_CONTROLLER: 'traefik', INGRESS_IMAGE: await traefikImage() } : {}),
  }
  await writeEnvFile(inside, { ...values, ...standIns })
  await writeKindFile(inside, { featureGates: { KubeletInUserNamespace: true } })
}

/** Tells the report what buildClusterStandIns will compile. */
export async function announceClusterStandIns(wanted: ClusterStandIns, options: StandInOptions): Promise<void> {
  await announceStandIns(await imagesOf(wanted), options)
}

/** Builds what settleForStandIns names: a quarter of an hour the first time, a minute in a new engine, then nothing. */
export async function buildClusterStandIns(wanted: ClusterStandIns, options: StandInOptions): Promise<void> {
  const standIns = await ensureStandIns(await imagesOf(wanted), options)
  await Promise.all([...standIns.values()].map(({ outcome }) => outcome))
}

async function imagesOf({ nodes, ingress }: ClusterStandIns): Promise<string[]> {
  return [...(ingress ? [await traefikImage()] : []), ...(nodes ? [await nodeImage()] : [])]
}

async function nodeImage(): Promise<string> {
  return `kindest/node:${await versionOf('kubernetes')}`
}

async function traefikImage(): Promise<string> {
  return `traefik:${await versionOf('traefik')}`
}

async function versionOf(name: string): Promise<string> {
  const recipe = await programRecipe(name)
  return 'version' in recipe ? recipe.version : 'latest'
}
