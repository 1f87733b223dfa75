import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { args } from '../../../lib/system/exec.ts'

describe('a command template as arguments', () => {
  it('splits its text at spaces, and never a value', () => {
    const listen = { ip: '127.0.0.7', port: 5432 }
    assert.deepEqual(args`socat  TCP4-LISTEN:${listen.port},bind=${listen.ip},fork ${'a b'}`, [
      'socat',
      'TCP4-LISTEN:5432,bind=127.0.0.7,fork',
      'a b',
    ])
  })

  it('makes one argument of each item of an array, none of an empty one, and keeps an empty value', () => {
    assert.deepEqual(args`rm -f ${['a', 'b c']} ${[]} x`, ['rm', '-f', 'a', 'b c', 'x'])
    assert.deepEqual(args`${['true']}`, ['true'])
    assert.deepEqual(args`echo ${''}`, ['echo', ''])
  })
})
