import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { withContext, withoutContext } from '../../../lib/journal/kubeconfig.ts'

const context = 'kind-macula'
const entry = (name: string, key = 'YWJj') => `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${key.repeat(60)}
    server: https://127.0.0.1:40000
  name: ${name}
contexts:
- context:
    cluster: ${name}
    user: ${name}
  name: ${name}
current-context: ${name}
kind: Config
users:
- name: ${name}
  user:
    client-key-data: ${key.repeat(60)}
`
const ours = entry(context)
const theirs = `# mine, by hand\n${entry('work').replace('kind: Config\n', 'kind: Config\npreferences: {}\n')}`

/** What kubectl reads in a kubeconfig: the names of its contexts and the current one. */
function readByKubectl(text: string): { contexts: string[]; current: string } {
  const folder = mkdtempSync(join(tmpdir(), 'macula-kubeconfig-'))
  try {
    writeFileSync(join(folder, 'config'), text)
    const kubectl = (...args: string[]) =>
      spawnSync('kubectl', ['--kubeconfig', join(folder, 'config'), 'config', ...args], { encoding: 'utf8' })
    const contexts = kubectl('get-contexts', '--output', 'name')
    assert.equal(contexts.status, 0, contexts.stderr)
    return {
      contexts: contexts.stdout.split('\n').filter(Boolean).sort(),
      current: kubectl('current-context').stdout.trim(),
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
const noKubectl = spawnSync('kubectl', ['version', '--client']).status !== 0 && 'needs kubectl'

describe('a context in a kubeconfig', () => {
  it('is added beside those of others; their current context, comments and fields stay', () => {
    const text = withContext(theirs, context, ours)
    assert.match(text, /^# mine, by hand\n/)
    const value = parse(text)
    assert.equal(value['current-context'], 'work')
    assert.deepEqual(value.preferences, {})
    for (const list of ['clusters', 'contexts', 'users'])
      assert.deepEqual(value[list], [...parse(theirs)[list], ...parse(ours)[list]], list)
  })

  it('makes a file of its own where there was none', () =>
    assert.deepEqual(parse(withContext('', context, ours)), parse(ours)))

  it('is brought up to date in its place, and added once only', () => {
    const text = withContext(withContext(theirs, context, entry(context, 'b2xk')), context, ours)
    assert.equal(text, withContext(theirs, context, ours))
    assert.equal(withContext(text, context, ours), text)
  })

  it('goes without a trace, byte for byte', () => {
    assert.equal(withoutContext(withContext(theirs, context, ours), context), theirs)
    assert.equal(withoutContext(theirs, context), theirs)
  })

  it('takes the current context with it where that was ours', () => {
    const text = withContext(theirs, context, ours).replace('current-context: work', `current-context: ${context}`)
    assert.equal(parse(withoutContext(text, context)!)['current-context'], '')
  })

  it('is not looked for in a text that is not a kubeconfig', () => {
    for (const text of ['- a list\n', 'a: [\n']) {
      assert.equal(withoutContext(text, context), undefined)
      assert.throws(() => withContext(text, context, ours))
    }
    assert.throws(() => withContext(theirs, 'kind-other', ours), /no clusters entry called kind-other/)
  })

  it('is what kubectl reads', { skip: noKubectl }, () => {
    const text = withContext(theirs, context, ours)
    assert.deepEqual(readByKubectl(text), { contexts: [context, 'work'], current: 'work' })
    assert.deepEqual(readByKubectl(withoutContext(text, context)!), { contexts: ['work'], current: 'work' })
    assert.deepEqual(readByKubectl(withContext('', context, ours)), { contexts: [context], current: context })
    assert.deepEqual(readByKubectl(withoutContext(ours, context)!), { contexts: [], current: '' })
  })
})
