import { parse } from 'dotenv'
import type { Problem } from '../system/errors.ts'

/** A line of a `.env` that sets a variable. */
export interface EnvEntry {
  /** Counted from 1. */
  line: number
  key: string
  value: string
}

/** A `.env`, read line by line; `problems` has what dotenv would silently skip or misread. */
export interface EnvText {
  entries: EnvEntry[]
  problems: Problem[]
}

/** Characters that dotenv, sh and Compose do not agree on. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const oddCharacter = /[\0-\x08\x0b-\x1f\x7f\u0085\u2028\u2029]/

/**
 * Reads the text of a `.env`. Every value is the one that dotenv reads; a line that other readers (sh, Compose) read differently is
 * refused. `isSecret` names the keys whose values must not appear in a problem.
 */
export function readEnvText(text: string, isSecret: (key: string) => boolean): EnvText {
  const entries = new Map<string, EnvEntry>()
  const problems: Problem[] = []
  for (const [index, content] of linesOf(text).entries()) {
    const where = `line ${index + 1}`
    const problem = (what: string) => problems.push({ where, what })
    const odd = oddCharacter.exec(content)?.[0]
    const parts = partsOf(content)
    if (odd !== undefined)
      problem(`contains the character U+${odd.charCodeAt(0).toString(16).padStart(4, '0')}; remove it`)
    else if (/^\s*(#|$)/.test(content)) continue
    else if (parts === undefined) problem('should read NAME=value')
    else if (entries.has(parts.key)) problem(`sets ${parts.key} a second time`)
    else {
      const what = problemOf(parts, isSecret(parts.key))
      if (what === undefined)
        entries.set(parts.key, { line: index + 1, key: parts.key, value: valueIn(content, parts.key) })
      else problem(what)
    }
  }
  return { entries: [...entries.values()], problems }
}

/**
 * The text with these values: a line changes only where its value does, and keeps its indentation, its `export` and its comment. Keys that no
 * line sets are added at the end, below the comment that `example` has for them. All other lines keep every byte.
 */
export function editEnvText(
  text: string,
  values: Readonly<Record<string, string | undefined>>,
  example: string,
): string {
  const lineEnd = /\r\n|\n/.exec(text)?.[0] ?? '\n'
  const wanted = new Map(Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined))
  const edited = text.split(/(\r\n|\n|\r)/).map(content => {
    const parts = partsOf(content)
    const value = parts && wanted.get(parts.key)
    if (value === undefined) return content
    wanted.delete(parts!.key)
    const { prefix, tail, key } = parts!
    return valueIn(content, key) === value ? content : `${prefix}${quoteEnvValue(value)}${tail}`
  })
  const ended = wanted.size === 0 || edited.at(-1) === '' ? edited : [...edited, lineEnd]
  const added = [...wanted].map(([key, value]) =>
    `${commentOf(key, example)}${key}=${quoteEnvValue(value)}\n`.replaceAll('\n', lineEnd),
  )
  return [...ended, ...added].join('')
}

/**
 * A value as dotenv reads it back, in the plainest form there is: bare, in single quotes (which sh and Compose take for the same), or another way.
 * Undefined for a value that a `.env` cannot hold: with line ends, or with `#` and either all three kinds of quotes or a backslash at its end.
 */
export function envValue(value: string): string | undefined {
  const forms = [...(/^[\w@%+:,./=-]*$/.test(value) ? [value] : []), `'${value}'`, `"${value}"`, `\`${value}\``, value]
  return forms.find(form => {
    const { entries, problems } = readEnvText(`NAME=${form}`, () => true)
    return problems.length === 0 && entries.length === 1 && entries[0]?.value === value
  })
}

function quoteEnvValue(value: string): string {
  const form = envValue(value)
  // callers check the value with envValue first
  if (form === undefined) throw new Error('A value that a .env file cannot hold was to be written')
  return form
}

interface LineParts {
  key: string
  /** All before the value: indentation, `export`, name, `=`, blanks. */
  prefix: string
  /** The value as it is written, quotes included. */
  written: string
  /** The quotes around it, if any. */
  quote: string | undefined
  /** All after the value: blanks, and a comment. */
  tail: string
}

function linesOf(text: string): string[] {
  return text.split(/\r\n|\n|\r/)
}

/** Undefined for a line that sets nothing: a comment, a blank line, or something that is not an assignment. */
function partsOf(line: string): LineParts | undefined {
  const [assignment, key] = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=/.exec(line) ?? []
  if (assignment === undefined || key === undefined) return undefined
  const rest = line.slice(assignment.length)
  const blanks = rest.slice(0, rest.length - rest.trimStart().length)
  const body = rest.slice(blanks.length)
  const [quoted, quote] = /^(["'`])(?:(?!\1).)*\1(?=\s*$|\s+#)/.exec(body) ?? []
  if (quoted !== undefined)
    return { key, prefix: assignment + blanks, written: quoted, quote, tail: body.slice(quoted.length) }
  if (body === '' || (body.startsWith('#') && blanks !== ''))
    return { key, prefix: assignment, written: '', quote: undefined, tail: rest }
  const written = body.replace(/\s+#.*$|\s+$/, '')
  return { key, prefix: assignment + blanks, written, quote: undefined, tail: body.slice(written.length) }
}

function valueIn(line: string, key: string): string {
  return new Map(Object.entries(parse(line))).get(key) ?? ''
}

function problemOf({ key, written, quote }: LineParts, secret: boolean): string | undefined {
  // dotenv takes \' for a quote inside the value and reads on, into the next lines if need be
  if (quote !== undefined)
    return written.endsWith(`\\${quote}`)
      ? `has a backslash before its closing quote; write the value without quotes`
      : undefined
  const opening = /^["'`]/.exec(written)?.[0]
  if (opening !== undefined)
    return written.indexOf(opening, 1) === -1
      ? `opens a quote (${opening}) and does not close it`
      : `goes on after its closing quote (${opening}); put a blank before a comment, and other quotes around a value with this one`
  if (!written.includes('#')) return undefined
  const form = secret ? "'…'" : (envValue(written) ?? "'…'")
  return `has a # in a value without quotes; write ${key}=${form}, or put a blank before # where a comment begins`
}

/** The comment lines right above a key in the documented example, each with its line end. */
function commentOf(key: string, example: string): string {
  const lines = linesOf(example)
  const index = lines.findIndex(line => partsOf(line)?.key === key)
  let first = index
  while (first > 0 && lines[first - 1]?.startsWith('#') && !lines[first - 1]?.startsWith('# ---')) first -= 1
  return lines
    .slice(first, index)
    .map(line => `${line}\n`)
    .join('')
}
