import { isAbsolute, normalize } from 'node:path'
import * as z from 'zod'
import { packageManagerNames } from '../system/packages.ts'
import { accountsFolder } from './accounts.ts'

const text = z.string()
const path = text.refine(
  value => isAbsolute(value) && normalize(value) === value && !value.includes('\0'),
  'should be an absolute path',
)
const id = z.int().min(0)

const pathState = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('absent') }),
  z.object({ kind: z.literal('file'), content: z.base64(), mode: z.int().min(0).max(0o7777), uid: id, gid: id }),
  z.object({ kind: z.literal('link'), target: text }),
  z.object({ kind: z.literal('directory') }),
  z.object({ kind: z.literal('other') }),
])

// an argument that begins with - would be an option of the command that undoes it
const word = text.regex(/^[A-Za-z0-9]\S*$/, 'should be a name')
const command = z.array(text).min(1)

const block = z.union([z.object({ begin: text, end: text }), z.object({ context: text.min(1) })])

const change = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('path'), path, before: pathState, after: pathState, block: block.optional() }),
  z.object({ kind: z.literal('directory'), path }),
  z.object({ kind: z.literal('accounts'), folder: path, packages: z.array(word) }),
  z.object({ kind: z.literal('packages'), manager: z.enum(packageManagerNames), names: z.array(word) }),
  z.object({ kind: z.literal('unit'), unit: word, enabled: z.boolean(), active: z.boolean() }),
  z.object({ kind: z.literal('process'), name: word, command }),
  z.object({
    kind: z.literal('started'),
    name: word,
    identity: z.object({ pid: z.int().min(2), startTime: text }),
  }),
  z.object({ kind: z.literal('after-undo'), command }),
])

const record = change
  .and(z.object({ id: z.uuid(), scope: text, at: text }))
  // undo deletes it as root
  .refine(each => each.kind !== 'accounts' || each.folder === accountsFolder(each.id), {
    path: ['folder'],
    message: 'is not where copies of the account files are kept',
  })

const undone = z.object({ undone: z.array(text) })
const header = z.object({ journal: z.literal('macula'), version: z.number() })

/**
 * The part of a file that is ours, where the rest stays somebody else's: the lines from one to another, or everything that a kubeconfig
 * has for one context.
 */
export type Block = z.infer<typeof block>

/** What can be recorded: always the state before, plus what tells our own change from somebody else's. */
export type Change = z.infer<typeof change>

export type JournalRecord = z.infer<typeof record>

/** A line of the journal: a record, the ids of records that are undone, or a header: the first line, which two processes that begin at once may both write. */
export type JournalLine = JournalRecord | z.infer<typeof undone> | z.infer<typeof header>

/** Format of the journal; a file with a higher number was written by a newer platform, and is not ours to guess at. */
export const journalVersion = 1

/** Reads one line. Throws an Error that says what is wrong with it: each value is checked against the kind of its record, for undo acts on it as root. */
export function parseLine(line: string): JournalLine {
  const value: unknown = JSON.parse(line)
  const schema = isObjectWith(value, 'undone') ? undone : isObjectWith(value, 'journal') ? header : record
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new Error(result.error.issues.map(issue => `${issue.path.join('.')} ${issue.message}`).join('; '))
}

function isObjectWith(value: unknown, key: string): boolean {
  return typeof value === 'object' && value !== null && key in value
}
