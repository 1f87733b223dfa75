import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { $ } from '../system/exec.ts'

/** A module that is compiled into a program, and the licence whose text it carries. */
export interface LicensedModule {
  module: string
  version: string
  /** SPDX identifier, `A AND B` where it carries more than one text, `none` where it carries no text, `unknown` for a text that is not known here. */
  licence: string
}

/** Words that only one licence has, the strictest first: a text that mentions the GPL in passing is no BSD text. */
const texts: readonly (readonly [licence: string, words: RegExp])[] = [
  ['AGPL-3.0', /^\s*GNU AFFERO GENERAL PUBLIC LICENSE/m],
  ['LGPL-3.0', /^\s*GNU LESSER GENERAL PUBLIC LICENSE/m],
  ['GPL', /^\s*GNU GENERAL PUBLIC LICENSE/m],
  ['BUSL-1.1', /Business Source License 1\.1/],
  ['SSPL-1.0', /Server Side Public License/],
  ['MPL-2.0', /Mozilla Public License,? (?:Version|v\.?) ?2\.0/i],
  ['Apache-2.0', /Apache License[\s,]*(?:Version|v) ?2\.0/],
  ['Unlicense', /This is free and unencumbered software released into the public domain/],
  ['CC0-1.0', /CC0 1\.0 Universal/],
  ['MIT', /Permission is hereby granted, free of charge, to any person obtaining\s+a copy/],
  ['ISC', /Permission to use, copy, modify,? and(?:\/or)? distribute this software for any\s+purpose/],
  [
    'BSD-3-Clause',
    /Redistributions? in binary form must[\s\S]*(?:Neither the name|names? of (?:its|the) (?:author|contributors))/,
  ],
  ['BSD-2-Clause', /Redistributions? in binary form must/],
]

/** The licence of a text; `unknown` for none that is known here. */
export function licenceOf(text: string): string {
  return texts.find(([, words]) => words.test(text))?.[0] ?? 'unknown'
}

/**
 * The modules that are in these programs, each with the licence that its own folder carries. `env` says where Go keeps its modules; those that are not
 * there are downloaded.
 */
export async function licencesOfPrograms(
  go: string,
  programs: readonly string[],
  env: Record<string, string>,
  work: string,
): Promise<LicensedModule[]> {
  const modules = new Set<string>()
  for (const program of programs) for (const module of await modulesIn(go, program)) modules.add(module)
  const licensed: LicensedModule[] = []
  for (const batch of batches([...modules].sort(), 50)) {
    // one JSON document after the other
    const download = $({ cwd: work, env, idle: '5m' })
    const { stdout } = await download`${go} mod download -json ${batch}`
    for (const { Path, Version, Dir } of JSON.parse(`[${stdout.trim().replaceAll(/^\}\s*\{/gm, '},{')}]`))
      licensed.push({ module: Path, version: Version, licence: await licenceIn(Dir) })
  }
  return licensed
}

/** `module@version` of everything a program was linked from, as the program itself says; what was replaced by a folder of ours counts as the original. */
async function modulesIn(go: string, program: string): Promise<string[]> {
  const rows = (await $`${go} version -m ${program}`.lines()).map(line => line.trim().split('\t'))
  return rows.flatMap(([kind, module = '', version = ''], index) => {
    if (kind !== 'dep' && kind !== 'mod') return []
    const [next, replacement = '', replacedBy = ''] = rows[index + 1] ?? []
    const isReplaced = next === '=>' && !replacement.startsWith('/') && !replacement.startsWith('.')
    if (isReplaced) return [`${replacement}@${replacedBy}`]
    // our own, which have no version
    return /^v\d/.test(version) ? [`${module}@${version}`] : []
  })
}

async function licenceIn(folder: string): Promise<string> {
  const files = (await readdir(folder)).filter(name => /^(licen[cs]e|copying|unlicense)/i.test(name))
  const found = await Promise.all(
    files.map(async name => licenceOf(await readFile(join(folder, name), 'utf8').catch(() => ''))),
  )
  const known = [...new Set(found.filter(licence => licence !== 'unknown'))].sort()
  if (known.length > 0) return known.join(' AND ')
  return found.length > 0 ? 'unknown' : 'none'
}

function batches<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  )
}
