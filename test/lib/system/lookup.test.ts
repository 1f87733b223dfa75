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
