import type { Platform } from '../platform/platform.ts'
import { type EngineFacts, engineTimeout, engineVersion } from '../stack/engine.ts'
import { findNotOurs, ownershipError } from '../stack/ownership.ts'
import { messageOf } from '../system/errors.ts'
import { $, lastLines, type Shell } from '../system/exec.ts'
import type { Check, Finding } from './finding.ts'

/** Engine 25 brought `start_interval` (API 1.44), which the healthchecks use. */
const oldestEngine = [25]
/** Up to 28.3.2 a reload of the firewall let neighbours reach ports that are published on loopback addresses. */
export const safeEngine = [28, 3, 3]
const enginePages = 'https://docs.docker.com/engine/install/'
const composePages = 'https://docs.docker.com/compose/install/'

/** The Docker engine: there, running, ours to use, new enough. */
export function engineCheck(
  shell: Shell = $,
  hasTool: (name: string) => Promise<boolean>,
  facts?: Promise<EngineFacts>,
): Check {
  const check = 'Docker engine'
  return {
    name: check,
    async look() {
      if (!(await hasTool('docker')))
        return [{ check, state: 'fail', detail: 'docker is not installed', hint: `Install Docker: ${enginePages}` }]
      // by itself, the client says why there is no answer
      const version = (await facts)?.version ?? (await engineVersion(shell))
      if (isOlder(version, oldestEngine)) {
        const detail = `${version} is too old: the platform needs ${oldestEngine.join('.')} or newer`
        return [{ check, state: 'fail', detail, hint: `Update Docker: ${enginePages}` }]
      }
      if (isOlder(version, safeEngine)) {
        const detail = `${version}; before ${safeEngine.join('.')} a reload of the firewall exposes ports published on 127.0.0.0/8 to the local network`
        return [{ check, state: 'warn', detail, hint: `Update Docker: ${enginePages}` }]
      }
      return [{ check, state: 'ok', detail: version }]
    },
  }
}

// the smallest file that has what ours depends on; needs no engine
const probeFile = 'services: { probe: { image: probe, healthcheck: { test: [CMD, "true"], start_interval: 1s } } }'

/** Knows all that our file says, as do those after it: 2.20.2 brought `start_interval`. What has no such number is tried. */
const wholeCompose = [2, 21]

/** Compose: the plugin, and one that knows what our file says. `facts` save trying it, or the query for its version. */
export function composeCheck(
  shell: Shell = $,
  hasTool: (name: string) => Promise<boolean>,
  facts?: Promise<EngineFacts>,
): Check {
  const check = 'Docker Compose'
  const install = `Debian and Ubuntu: sudo apt-get install docker-compose-plugin (or docker-compose-v2)\nElsewhere: ${composePages}`
  return {
    name: check,
    async look(): Promise<Finding[]> {
      if (!(await hasTool('docker'))) return []
      const known = (await facts)?.compose
      if (known !== undefined && /^v?\d+\.\d/.test(known) && !isOlder(known, wholeCompose))
        return [{ check, state: 'ok', detail: known }]
      const options = { nothrow: true, timeout: engineTimeout } as const
      const probe = shell({ ...options, input: probeFile })`docker compose --project-name probe --file - config`
      const read = await probe.catch(messageOf)
      // it asks no engine: the disk is busy, or slow, with a program of 60 MB; that must not cost anybody their setup
      if (typeof read === 'string') return [{ check, state: 'warn', detail: read }]
      const knows = read.exitCode === 0 && read.stdout.includes('start_interval')
      if (knows && known !== undefined) return [{ check, state: 'ok', detail: known }]
      const asked = await shell(options)`docker compose version --short`
      if (asked.exitCode !== 0) {
        const old = await hasTool('docker-compose')
        const detail = old
          ? 'only Compose v1 (docker-compose) is installed; the platform needs the plugin `docker compose`'
          : 'the plugin `docker compose` is not installed'
        return [{ check, state: 'fail', detail, hint: install }]
      }
      const version = asked.stdout.trim()
      if (knows) return [{ check, state: 'ok', detail: version }]
      const why = lastLines(read.stderr, 1)
      const detail = `${version} is too old: it does not know start_interval${why && ` (${why})`}`
      return [{ check, state: 'fail', detail, hint: install }]
    },
  }
}

/** The folder that the collector reads the containers' logs from: the one the engine writes them to. One that does not answer has its own check. */
export function logFilesCheck(dataRoot: string, facts: Promise<EngineFacts>): Check {
  const check = 'Container logs'
  return {
    name: check,
    async look() {
      const { folder } = await facts
      if (folder === undefined) return []
      if (folder === dataRoot) return [{ check, state: 'ok', detail: `${folder}/containers` }]
      const detail = `the engine keeps them in ${folder}, and they are read in ${dataRoot}: none will reach Loki`
      return [{ check, state: 'warn', detail, hint: `DOCKER_DATA_ROOT=${folder} in .env` }]
    },
  }
}

/** Whether the names that the platform gives its containers, networks and volumes are free, or ours. An engine that does not answer has its own check. */
export function ownershipCheck(platform: Platform, facts: Promise<EngineFacts>, shell: Shell = $): Check {
  const check = 'Names in Docker'
  return {
    name: check,
    async look() {
      if ((await facts).version === undefined) return []
      const project = platform.settings.MACULA_PROJECT
      const found = await findNotOurs(platform, shell)
      if (found.foreign.length + found.adoptable.length === 0)
        return [{ check, state: 'ok', detail: `nobody else has a Compose project ${project}, or its names` }]
      const { message, why, hint } = ownershipError(found, project)
      return [{ check, state: 'fail', detail: `${message}: ${why?.replaceAll('\n', '; ')}`, hint }]
    },
  }
}

/** Whether a version is before another, number by number; what follows the numbers (`+dfsg1`, `-rc.1`) does not count. */
export function isOlder(version: string, than: readonly number[]): boolean {
  const numbers = version
    .replace(/^v/, '')
    .split(/[.+~-]/)
    .map(Number)
  for (const [index, wanted] of than.entries()) {
    const found = numbers[index] ?? 0
    if (found !== wanted) return found < wanted
  }
  return false
}
