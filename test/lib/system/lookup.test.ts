import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { describeLookup, lookUp } from '../../../lib/system/lookup.ts'
import { shellOf } from '../../helpers/shell.ts'

describe('looking names up', () => {
  it('asks the system resolver, which knows localhost', async () => {
    const lookups = lookUp([{ name: 'localhost', family: 4 }], 5000)
    assert.deepEqual((await lookups('localhost')).addresses, ['127.0.0.1'])
    assert.equal((await lookups('other')).error, 'not asked')
  })

  it('asks only for what getent does not say, or says in IPv6', { skip: process.platform !== 'linux' }, async () => {
    const asked: string[] = []
    const shell = shellOf(command => {
      asked.push(command)
      if (command.startsWith('getent')) return '127.0.0.4       a.test\n127.0.0.5 real.test alias.test\n::1 six.test\n'
      return ['four', 'six', 'none'].map(name => answer(name)).join('')
    })
    const answer = (name: string) =>
      `${JSON.stringify({ question: `4:${name}.test`, addresses: name === 'none' ? [] : ['127.0.0.6'], error: 'ENOTFOUND' })}\n`
    const names = ['a', 'alias', 'six', 'none'].map(name => `${name}.test`)
    const lookups = lookUp(
      names.map(name => ({ name, family: 4 })),
      100,
      shell,
    )
    assert.deepEqual(await Promise.all(names.map(async name => describeLookup(await lookups(name)))), [
      '127.0.0.4',
      '127.0.0.5',
      '127.0.0.6',
      'no address',
    ])
    assert.equal(asked[0], 'getent hosts a.test alias.test six.test none.test')
    assert.match(asked[1] ?? '', /lookup\.mjs 100 4:six\.test 4:none\.test$/)
  })

  it('says of every name without an answer that its time is over', async () => {
    const shell = shellOf(() => ({ exitCode: 137, stdout: '{"question":"4:a.test","addresses":["127.0.0.4"]}' }))
    const lookups = lookUp(
      [
        { name: 'a.test', family: 4 },
        { name: 'a.test', family: 6 },
      ],
      100,
      shell,
    )
    assert.equal(describeLookup(await lookups('a.test')), '127.0.0.4')
    assert.equal(describeLookup(await lookups('a.test', 6)), 'the resolver did not answer in time')
  })
})
