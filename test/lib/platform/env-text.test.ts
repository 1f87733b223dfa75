import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parse } from 'dotenv'
import fc from 'fast-check'
import { editEnvText, envValue, readEnvText } from '../../../lib/platform/env-text.ts'
import { composeProgram, runCompose } from '../../helpers/compose.ts'
import { envFiles, values } from '../../helpers/env-arbitraries.ts'
import { countFaults } from '../../helpers/fault-table.ts'
import { tries, tryInputs } from '../../helpers/property.ts'

const read = (text: string) => readEnvText(text, key => key.endsWith('PASSWORD'))
const problemsOf = (text: string) => read(text).problems.map(({ where, what }) => `${where}: ${what}`)

describe('a value that is written', () => {
  it('is what dotenv reads back, whatever it is made of', () =>
    tryInputs('value written to .env', values, 2000, value => {
      const form = envValue(value)
      if (form !== undefined) assert.equal(parse(`A=1\nNAME=${form}\nB=2`).NAME, value)
      else assert.match(value, /[`'"#]|\\$/)
      return form === undefined ? 'refused' : 'exact'
    }))

  const plain = values.filter(value => !/['\\$`]/.test(value))
  describe('without quote, backslash, dollar and backtick', () => {
    let folder = ''
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'macula-env-'))
    })
    after(() => rm(folder, { recursive: true }))

    async function written(): Promise<{ expected: string[]; file: string }> {
      const expected = fc.sample(plain, { ...tries(300), seed: 1 }).filter(value => envValue(value) !== undefined)
      const file = join(folder, 'env')
      await writeFile(file, expected.map((value, index) => `V${index}=${envValue(value)}\n`).join(''))
      return { expected, file }
    }

    it('is what sh reads back', async () => {
      const { expected, file } = await written()
      const script = `set -a; . ${file}; exec ${process.execPath} -e 'process.stdout.write(JSON.stringify(process.env))'`
      const { stdout, stderr } = spawnSync('sh', ['-c', script], { encoding: 'utf8', env: {}, maxBuffer: 1e8 })
      const environment = JSON.parse(stdout || '{}')
      assert.equal(stderr, '')
      assert.deepEqual(
        expected.map((_, index) => environment[`V${index}`]),
        expected,
      )
    })

    it('is what Compose reads back from an env_file', async context => {
      const { command, skip } = await composeProgram()
      if (skip !== false) return context.skip(skip)
      const { expected } = await written()
      await writeFile(join(folder, 'compose.yml'), 'services: { one: { image: a, env_file: env } }\n')
      const { stdout, stderr } = runCompose(command, ['-f', 'compose.yml', 'config', '--format', 'json'], { folder })
      const { environment } = JSON.parse(stdout || '{}').services?.one ?? {}
      assert.ok(environment, stderr)
      // `config` writes a $ twice; these values have none
      assert.deepEqual(
        expected.map((_, index) => environment[`V${index}`]),
        expected,
      )
    })
  })
})

describe('a .env', () => {
  it('is read as dotenv reads it, or refused', () =>
    tryInputs('.env file', envFiles, 1000, text => {
      const { entries, problems } = read(text)
      for (const { where } of problems) assert.match(where, /^line \d+$/)
      if (problems.length > 0) return 'refused'
      assert.deepEqual(Object.fromEntries(entries.map(({ key, value }) => [key, value])), parse(text))
      return 'exact'
    }))

  it('keeps every byte of the lines that are not changed', () => {
    const counts = { tried: 0, kept: 0 }
    const property = fc.property(
      envFiles,
      fc.dictionary(fc.constantFrom('A', 'B1', 'PEER1_SOURCE', 'NEW'), values),
      (text, wanted) => {
        const changes = Object.fromEntries(Object.entries(wanted).filter(([, value]) => envValue(value) !== undefined))
        if (read(text).problems.length > 0) return
        counts.tried += 1
        const edited = editEnvText(text, changes, '')
        assert.deepEqual(parse(edited), { ...parse(text), ...changes })
        const [before, after] = [text, edited].map(all => all.split(/(?<=\r\n|\n|\r(?!\n))/))
        for (const [index, line] of (before ?? []).entries()) {
          const key = /^\s*(?:export\s+)?(\w+)\s*=/.exec(line)?.[1] ?? ''
          if (line !== '' && !Object.hasOwn(changes, key)) assert.equal(after?.[index]?.trimEnd(), line.trimEnd())
        }
        counts.kept += 1
      },
    )
    try {
      fc.assert(property, tries(1000))
    } finally {
      countFaults('files of the user changed beyond the keys asked for', counts.tried, counts.tried - counts.kept)
    }
  })

  it('keeps order, comments, indentation, export and line ends where one value changes', () => {
    const text = "# mine\r\n\r\n  export A = 'old'  # why\r\nPEER1_SOURCE=../peer # mine, too\r\n\r\nB1=\r\n# end"
    assert.equal(
      editEnvText(text, { A: "it's", PEER1_SOURCE: '../peer', B1: 'x' }, ''),
      '# mine\r\n\r\n  export A = "it\'s"  # why\r\nPEER1_SOURCE=../peer # mine, too\r\n\r\nB1=x\r\n# end',
    )
  })

  it('gets keys that are missing at its end, below their documented comment', () => {
    const example = '# --- Group ---\n\n# First.\nA=\n# What B is,\n# and for what.\nB=\n'
    assert.equal(editEnvText('A=1', { A: '1', B: '2' }, example), 'A=1\n# What B is,\n# and for what.\nB=2\n')
    assert.equal(editEnvText('A=1\r\n', { B: '2' }, example), 'A=1\r\n# What B is,\r\n# and for what.\r\nB=2\r\n')
  })

  it('is refused where a value has a # without a blank before it, with the form to write', () => {
    assert.deepEqual(problemsOf('A=1\nNAME=abc#def\nB=#x\nC=abc #comment\nD= # comment'), [
      "line 2: has a # in a value without quotes; write NAME='abc#def', or put a blank before # where a comment begins",
      "line 3: has a # in a value without quotes; write B='#x', or put a blank before # where a comment begins",
    ])
    assert.deepEqual(problemsOf('POSTGRES_PASSWORD=abc#def'), [
      "line 1: has a # in a value without quotes; write POSTGRES_PASSWORD='…', or put a blank before # where a comment begins",
    ])
  })

  it('is refused where its readers would not agree, with the line', () => {
    assert.deepEqual(problemsOf("A='x'#y\nB='x\nC='a'b'\nD\nA=2\nE=a\u2028b\n# a\u2028F=1"), [
      "line 1: goes on after its closing quote ('); put a blank before a comment, and other quotes around a value with this one",
      "line 2: opens a quote (') and does not close it",
      "line 3: goes on after its closing quote ('); put a blank before a comment, and other quotes around a value with this one",
      'line 4: should read NAME=value',
      'line 6: contains the character U+2028; remove it',
      'line 7: contains the character U+2028; remove it',
    ])
    assert.deepEqual(problemsOf("A='x\\'"), [
      'line 1: has a backslash before its closing quote; write the value without quotes',
    ])
    assert.deepEqual(problemsOf('A=1\nA=2'), ['line 2: sets A a second time'])
  })
})
