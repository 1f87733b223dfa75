import * as z from 'zod'
import type { Problem } from '../system/errors.ts'
import type { ReadCompose } from './compose-file.ts'

const port = z.int().min(1, 'should be a port, 1 to 65535').max(65535, 'should be a port, 1 to 65535')
const label = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'should be one DNS label: lower case letters, digits and -')
const byte = '(25[0-5]|2[0-4]\\d|1?\\d?\\d)'
const loopback = z
  .string()
  .regex(new RegExp(`^127\\.${byte}\\.${byte}\\.${byte}$`), 'should be an address of 127.0.0.0/8')
const portText = '([1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])'
// these end up in nginx's configuration, where ; { } $ # " ' and \ mean something
const pathText = '/[\\w.~!&()*+,=:@%/-]*'
const queryText = '(\\?[\\w.~!&()*+,=:@%/?-]*)?'
const path = z
  .string()
  .regex(new RegExp(`^${pathText}$`), 'should be a path: / and letters, digits, . _ ~ ! & ( ) * + , = : @ % -')
const portAndPath = z
  .string()
  .regex(new RegExp(`^${portText}${pathText}$`), 'should be port/path, like 9090/metrics; a port is 1 to 65535')
const health = z
  .string()
  .regex(
    new RegExp(`^(tcp(/${portText})?|${portText}?${pathText}${queryText})$`),
    'should be a path, port/path, tcp, or tcp/port; a port is 1 to 65535, and a path has no spaces and none of ; { } $ # " \' \\',
  )
const portPair = z
  .string()
  .regex(new RegExp(`^${portText}:${portText}$`), 'should be a port, 1 to 65535, or two of them: "listen:target"')

const serviceBlock = z.strictObject({
  group: z.string().regex(/^[a-z][a-z0-9-]*$/, 'should be a word in lower case'),
  host: z.union([label, z.record(label, port)], 'should be a name, or names with their ports: { s3: 9000 }').optional(),
  path: path.optional(),
  web: z
    .union([port, z.literal(false), z.array(port).min(1)], 'should be a port, a list of ports, or false')
    .optional(),
  loopback: loopback.optional(),
  ports: z.array(z.union([port, portPair], 'should be a port, 1 to 65535, or two of them: "listen:target"')).optional(),
  health: health.optional(),
  metrics: portAndPath.optional(),
  title: z.string().optional(),
  description: z.string().optional(),
})

const applicationsBlock = z.strictObject({
  applications: z.strictObject({ loopback: loopback.optional(), hosts: z.array(label) }).optional(),
})

/** The `x-macula` block of a service, as written. */
export type ServiceBlock = z.infer<typeof serviceBlock>
/** The top-level `x-macula` block. */
export type ApplicationsBlock = z.infer<typeof applicationsBlock>

/** What is wrong with the `x-macula` blocks of a file. */
export function blockProblems({ content, locate }: ReadCompose): Problem[] {
  const problems = issuesOf(applicationsBlock.safeParse(content['x-macula'] ?? {}), ['x-macula'], locate)
  for (const [name, service] of Object.entries(content.services ?? {})) {
    if (service?.['x-macula'] === undefined) continue
    // a user's file may change single keys of a block, so only all of them together have to be complete
    problems.push(
      ...issuesOf(serviceBlock.partial().safeParse(service['x-macula']), ['services', name, 'x-macula'], locate),
    )
  }
  return problems
}

function issuesOf(
  parsed: z.ZodSafeParseResult<unknown>,
  path: PropertyKey[],
  locate: ReadCompose['locate'],
): Problem[] {
  return (parsed.error?.issues ?? []).flatMap(issue => {
    const full = [...path, ...issue.path]
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map(key => ({
        where: locate([...full, key]),
        what: `${dotted([...full, key])} is not a key of x-macula; known: ${knownKeys(path)}`,
      }))
    }
    return [
      {
        where: locate(full),
        what: `${dotted(full)} ${issue.message.startsWith('should') ? issue.message : `is wrong: ${issue.message}`}`,
      },
    ]
  })
}

function knownKeys(path: readonly PropertyKey[]): string {
  return Object.keys(path[0] === 'services' ? serviceBlock.shape : applicationsBlock.shape).join(', ')
}

function dotted(path: readonly PropertyKey[]): string {
  return path.map(String).join('.')
}
