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
import { announceStandIns, ensureNodeImage, ensureStandIns, type StandInOptions } from './standins.ts'

/** What the bundled applications are built on. */
export const applicationBase = 'node:24-alpine'

/** The images that a cluster of these settings consists of: its nodes, and its ingress controller. */
export async function clusterImages(platform: Platform): Promise<string[]> {
  return [platform.settings.KIND_NODE_IMAGE, await ingressImage(platform)]
}

/**
 * Has a kubectl inside where the machine has none that will do: the one that was compiled for the nodes where they were made here, else the
 * release that setup-cluster would install on a machine.
 */
export async function bringKubectl(inside: Inside, standIns: boolean, options: SupplyOptions): Promise<void> {
  const $ = sandboxShell(inside)
  const found = await requireKubectl($).catch(() => undefined)
  if (found !== undefined) return
  const { recipe, version } = releases.kubectl
  const folder = standIns
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

/**
 * Lets the sandbox's settings name a cluster that can be made without a registry: the newest Kubernetes that still starts on cgroup v1, and Traefik,
 * both compiled here. Its kubelet does without rights that this machine may lack.
 */
export async function settleForStandIns(inside: Paths): Promise<void> {
  const { values } = await readEnvFile(inside)
  const standIns: Partial<Record<SettingName, string>> = {
    KIND_NODE_IMAGE: `kindest/node:${await versionOf('kubernetes')}`,
    INGRESS_CONTROLLER: 'traefik',
    INGRESS_IMAGE: await traefikImage(),
  }
  await writeEnvFile(inside, { ...values, ...standIns })
  await writeKindFile(inside, { featureGates: { KubeletInUserNamespace: true } })
}

/** Tells the report what buildClusterStandIns will compile. */
export async function announceClusterStandIns(options: StandInOptions): Promise<void> {
  await announceStandIns(['kindest/node', await traefikImage()], options)
}

/** Builds what settleForStandIns names: a quarter of an hour the first time, a minute in a new engine, then nothing. */
export async function buildClusterStandIns(options: StandInOptions): Promise<void> {
  const traefik = await ensureStandIns([await traefikImage()], options)
  await Promise.all([ensureNodeImage(options), ...[...traefik.values()].map(({ outcome }) => outcome)])
}

async function traefikImage(): Promise<string> {
  return `traefik:${await versionOf('traefik')}`
}

async function versionOf(name: string): Promise<string> {
  const recipe = await programRecipe(name)
  return 'version' in recipe ? recipe.version : 'latest'
}
