import { readFile, stat, statfs } from 'node:fs/promises'
import { freemem } from 'node:os'
import { dirname } from 'node:path'
import type { EngineFacts } from '../stack/engine.ts'
import { procText } from '../system/proc.mjs'
import { bytes } from '../system/text.ts'
import type { Check, Finding } from './finding.ts'

/** All images unpacked are about 5 GB, the cluster's node another 1.5; data and logs come on top. */
const comfortableDisk = 10e9
/** With less than this the first images do not fit. */
const leastDisk = 2e9
/** The stack takes 1 GB, a cluster of one node another. */
const comfortableMemory = 2.5e9
/** What KinD's own documentation asks for; below it kubelets end with 'too many open files'. */
const inotifyLimits = { max_user_watches: 524_288, max_user_instances: 512 } as const

/** Space where the engine keeps images and volumes; at `stateDir` where it does not say. */
export function diskCheck(stateDir: string, facts: Promise<EngineFacts>): Check {
  const check = 'Disk'
  return {
    name: check,
    async look() {
      const folder = await existing((await facts).folder ?? stateDir)
      const { bavail, bsize } = await statfs(folder)
      return [diskFinding(bavail * bsize, folder)]
    },
  }
}

/** Judges free space, in bytes. */
export function diskFinding(free: number, folder: string): Finding {
  const detail = `${bytes(free)} free at ${folder}`
  const hint = 'docker system df   # shows what Docker keeps; docker system prune removes what is unused'
  if (free < leastDisk) return { check: 'Disk', state: 'fail', detail: `${detail}; the images alone take 5 GB`, hint }
  return free < comfortableDisk
    ? { check: 'Disk', state: 'warn', detail: `${detail}; images and a cluster take about 8 GB`, hint }
    : { check: 'Disk', state: 'ok', detail }
}

/** Memory that can be had without pushing others out. */
export function memoryCheck(): Check {
  const check = 'Memory'
  return {
    name: check,
    async look() {
      const text = procText('meminfo') ?? ''
      const available = /^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1]
      return [memoryFinding(available === undefined ? freemem() : Number(available) * 1024)]
    },
  }
}

/** Judges available memory, in bytes. */
export function memoryFinding(available: number): Finding {
  const detail = `${bytes(available)} available`
  return available < comfortableMemory
    ? {
        check: 'Memory',
        state: 'warn',
        detail: `${detail}; all services with a cluster take about 2 GB`,
        hint: 'End other programs',
      }
    : { check: 'Memory', state: 'ok', detail }
}

/** The kernel's limits on watched files, which the cluster runs into first. */
export function inotifyCheck(folder = '/proc/sys/fs/inotify'): Check {
  const check = 'inotify'
  return {
    name: check,
    async look(): Promise<Finding[]> {
      const found = await Promise.all(
        Object.entries(inotifyLimits).map(async ([name, wanted]) => {
          const text = await readFile(`${folder}/${name}`, 'utf8').catch(() => undefined)
          return { name, wanted, value: text === undefined ? undefined : Number(text) }
        }),
      )
      const known = found.filter(({ value }) => value !== undefined)
      // not Linux, or not ours to see
      if (known.length === 0) return []
      const low = known.filter(({ value, wanted }) => value! < wanted)
      if (low.length === 0)
        return [{ check, state: 'ok', detail: `${known.map(({ value }) => value).join(' watches, ')} instances` }]
      return [
        {
          check,
          state: 'warn',
          detail: low.map(({ name, value, wanted }) => `${name} is ${value}, clusters need ${wanted}`).join('; '),
          hint: low.map(({ name, wanted }) => `sudo sysctl fs.inotify.${name}=${wanted}`).join('\n'),
        },
      ]
    },
  }
}

async function existing(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => undefined)
  return found !== undefined || folder === dirname(folder) ? folder : existing(dirname(folder))
}
