// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of compose files
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { stringify } from 'yaml'
import { interpolate, withoutVariables } from '../../../lib/platform/interpolate.ts'
import { composeProgram, runCompose } from '../../helpers/compose.ts'
import { tries, tryInputs } from '../../helpers/property.ts'

const variables: Record<string, string> = { SET: 'value', EMPTY: '', DOLLAR: 'a$b', QUOTES: `it's "x"` }
const lookup = (name: string) => variables[name]

const name = fc.constantFrom(...Object.keys(variables), 'UNSET', '_x1')
const plain = fc.constantFrom('', 'text', ' ', 'a-b', ':', '?', '-', '+', '$$', '"', "'", '\\', '#', 'ü')
const { text } = fc.letrec<{ text: string; part: string }>(tie => ({
  part: fc.oneof(
    { maxDepth: 3 },
    plain,
    name.map(name => `$${name}`),
    fc
      .tuple(name, fc.constantFrom('', ':-', '-', ':+', '+'), tie('text'))
      .map(([name, operator, word]) => `\${${name}${operator}${operator && word}}`),
    fc.constantFrom('${SET:?needed}', '${SET?}', '${UNSET:-${SET}}', '${UNSET-${EMPTY:-deep}}', '${EMPTY:+${SET}}'),
  ),
  text: fc.array(tie('part'), { maxLength: 4 }).map(parts => parts.join('')),
}))

describe('variables of a compose file', () => {
  for (const [written, expected] of [
    ['$SET and ${SET}', 'value and value'],
    ['${UNSET:-x}${EMPTY:-x}${EMPTY-x}${UNSET-x}', 'xxx'],
    ['${SET:+x}${EMPTY:+x}${EMPTY+x}${UNSET+x}', 'xx'],
    ['${UNSET:-${SET:+deep}}', 'deep'],
    ['$$SET $${SET} $$$SET', '$SET ${SET} $value'],
    ['$', '$'],
    ['${', '${'],
    ['${1}', '${1}'],
    ['5$ and $5', '5$ and $5'],
  ] as const)
    it(`are filled in: ${written}`, () => assert.equal(interpolate(written, lookup), expected))

  it('stay as they are written where nothing sets them and that is asked for', () => {
    assert.equal(interpolate('$UNSET ${UNSET} ${UNSET:-x} $SET', lookup, true), '$UNSET ${UNSET} x value')
  })

  it('are not seen in a text that is to be taken as it is', () =>
    tryInputs('text handed to Compose', fc.oneof(text, fc.string()), 500, written => {
      assert.equal(interpolate(withoutVariables(written), lookup), written)
      return 'exact'
    }))

  it('mean what they mean in Compose', async context => {
    const { command, skip } = await composeProgram()
    if (skip !== false) return context.skip(skip)
    const texts = [...new Set(fc.sample(text, { ...tries(300), seed: 2 }))]
    const folder = await mkdtemp(join(tmpdir(), 'macula-interpolate-'))
    try {
      const environment = Object.fromEntries(texts.map((written, index) => [`V${index}`, written]))
      await writeFile(
        join(folder, 'compose.yml'),
        stringify({ services: { one: { image: 'a', environment } } }, { lineWidth: 0 }),
      )
      const { stdout, stderr } = runCompose(command, ['-f', 'compose.yml', 'config', '--format', 'json'], {
        folder,
        env: variables,
      })
      const read = JSON.parse(stdout || '{}').services?.one.environment
      assert.ok(read, stderr)
      let index = -1
      tryInputs('text with variables', fc.constantFrom(...texts), 300, written => {
        index = texts.indexOf(written)
        // `config` writes each $ twice, so that what it prints is a compose file again
        assert.equal(read[`V${index}`], withoutVariables(interpolate(written, lookup)), written)
        return 'exact'
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
