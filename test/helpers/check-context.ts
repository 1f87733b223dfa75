import type { Platform } from '../../lib/platform/platform.ts'
import type { Container } from '../../lib/stack/docker.ts'
import type { LookupAnswer } from '../../lib/system/lookup.ts'
import type { CheckContext } from '../../lib/verify/check.ts'

const container = (service: string, changes: Partial<Container> = {}): Container => ({
  id: service,
  name: `macula-${service}`,
  service,
  image: 'a:1',
  imageId: 'sha256:a',
  state: 'running',
  health: 'healthy',
  exitCode: 0,
  since: undefined,
  startedAt: new Date('2026-11-23T10:00:00Z'),
  restartCount: 0,
  labels: {},
  standIn: undefined,
  ...changes,
})

/** A run in which all containers are well, apart from what `changes` say, and every name has the address it should have. */
export function contextOf(
  platform: Platform,
  {
    containers = {},
    lookups = {},
    ipv6 = 'ENODATA',
  }: {
    containers?: Record<string, Partial<Container>>
    lookups?: Record<string, LookupAnswer>
    ipv6?: string
  } = {},
): CheckContext {
  const answers = new Map(platform.names.map(({ name, ip }) => [name, { addresses: [ip] }]))
  return {
    platform,
    unique: 'unique',
    ipv6Answer: async () => ipv6,
    containers: new Map(platform.services.map(({ name }) => [name, container(name, containers[name])])),
    lookups: async (name, group = 4) =>
      lookups[`${group}:${name}`] ??
      (group === 6 ? { addresses: [], error: 'ENOTFOUND' } : (answers.get(name) ?? { addresses: [platform.wildcard] })),
  }
}
