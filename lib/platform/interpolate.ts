/** The value of a variable; undefined where it is not set. */
export type Lookup = (name: string) => string | undefined

/**
 * A text of a compose file with its variables filled in, by Compose's rules: `$NAME`, `${NAME}`, defaults (`:-`, `-`), alternatives (`:+`, `+`),
 * required values (`:?`, `?`), and `$$` for a dollar. A variable that is not set is empty. What Compose would reject stays as it is, and Compose
 * reports it. Every name goes through `lookup`, those in defaults that are not used as well. With `keepUnset`, a variable that is not set stays as it is
 * written, so that whatever checks the value shows it.
 */
export function interpolate(text: string, lookup: Lookup, keepUnset = false): string {
  let filled = ''
  let at = 0
  while (at < text.length) {
    const dollar = text.indexOf('$', at)
    if (dollar === -1) return filled + text.slice(at)
    filled += text.slice(at, dollar)
    const rest = text.slice(dollar + 1)
    const name = /^[A-Za-z_]\w*/.exec(rest)?.[0]
    if (rest.startsWith('$')) {
      filled += '$'
      at = dollar + 2
    } else if (name !== undefined) {
      filled += lookup(name) ?? (keepUnset ? `$${name}` : '')
      at = dollar + 1 + name.length
    } else {
      const end = rest.startsWith('{') ? closing(text, dollar + 2) : -1
      filled +=
        end === -1 ? '$' : (braced(text.slice(dollar + 2, end), lookup, keepUnset) ?? text.slice(dollar, end + 1))
      at = end === -1 ? dollar + 1 : end + 1
    }
  }
  return filled
}

/** Escapes a text so that Compose takes it literally. */
export function withoutVariables(text: string): string {
  return text.replaceAll('$', '$$$$')
}

/** Where the brace that was opened before `start` is closed; -1 where it is not. */
function closing(text: string, start: number): number {
  let depth = 1
  for (let at = start; at < text.length; at += 1) {
    if (text.startsWith('${', at)) depth += 1
    else if (text[at] === '}') depth -= 1
    if (depth === 0) return at
  }
  return -1
}

/** Undefined for what stays as it is. */
function braced(inner: string, lookup: Lookup, keepUnset: boolean): string | undefined {
  const [, name, operator = '', word = ''] = /^([A-Za-z_]\w*)(?:(:?[-?+])([\s\S]*))?$/.exec(inner) ?? []
  if (name === undefined) return undefined
  const value = lookup(name)
  const isSet = operator.startsWith(':') ? value !== undefined && value !== '' : value !== undefined
  const other = interpolate(word, lookup, keepUnset)
  if (operator.endsWith('-')) return isSet ? value : other
  if (operator.endsWith('+')) return isSet ? other : ''
  return value ?? (keepUnset ? undefined : '')
}
