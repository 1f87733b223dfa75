/**
 * Licences under which something may be compiled in or installed here. Permissive ones; MPL-2.0 asks for the sources of its own files only, and they are
 * used as they are; CC-BY-3.0 is on data files.
 */
const allowed: ReadonlySet<string> = new Set([
  ...['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0', 'CC0-1.0', 'CC-BY-3.0', 'ISC', 'MIT'],
  ...['MPL-2.0', 'Unlicense', 'Zlib'],
])

/** Modules whose own folder has no text, and the licence that their authors give at the place named here. */
const stated: Readonly<Record<string, string>> = {}

type Row = readonly [kind: string, name: string, licence: string]

/** The rows whose licence is not allowed: of `A AND B` each has to be, of `A OR B` one. */
export function refusedLicences(rows: readonly Row[]): Row[] {
  return rows.filter(([, name, licence]) => {
    const known = stated[name.replace(/@[^@]*$/, '')] ?? licence
    return !known
      .replace(/[()*]/g, '')
      .split(/ AND /)
      .every(part => part.split(/ OR /).some(one => allowed.has(one.trim())))
  })
}
