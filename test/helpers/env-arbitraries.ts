import fc from 'fast-check'

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are left out, because no line of a file holds them
const notInALine = /[\0-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]/

const tricky = [
  "'",
  '"',
  '`',
  '#',
  '\\',
  '\\n',
  '\\r',
  '$',
  '$$',
  `$${'{A}'}`,
  '$(id)',
  ' ',
  '=',
  '!',
  '%',
  ';',
  '&',
  '~',
  'ü',
  '日',
]

/** Values of one line, made of what quoting goes wrong with. */
export const values: fc.Arbitrary<string> = fc
  .oneof(
    {
      weight: 4,
      arbitrary: fc
        .array(fc.oneof(fc.constantFrom(...tricky), fc.string({ maxLength: 3 })), { maxLength: 8 })
        .map(parts => parts.join('')),
    },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
  )
  .filter(value => !notInALine.test(value))

const keys = fc.constantFrom('A', 'B1', 'PEER1_SOURCE', 'MACULA_DOMAIN', '__proto', 'x')

const line = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.constantFrom('', '  ', '\t', 'export ', ' export  '),
        keys,
        fc.constantFrom('=', ' = ', '= ', ' ='),
        values,
        fc.constantFrom("'", '"', '`', ''),
        fc.constantFrom('', ' ', ' # comment', '  # it\'s "one"', '#x'),
      )
      .map(([indent, key, equals, value, quote, tail]) => `${indent}${key}${equals}${quote}${value}${quote}${tail}`),
  },
  { weight: 2, arbitrary: fc.constantFrom('', '   ', '# comment', '  # A=1', '#A=2') },
  { weight: 1, arbitrary: values },
)

/** Texts of .env files as people write them, good and bad, with every kind of line end. */
export const envFiles: fc.Arbitrary<string> = fc
  .tuple(fc.array(line, { maxLength: 8 }), fc.constantFrom('\n', '\r\n', '\n', '\r'), fc.boolean())
  .map(([lines, end, ended]) => lines.join(end) + (ended ? end : ''))
