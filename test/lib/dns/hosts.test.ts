import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { withNames, withoutNames } from '../../../lib/dns/hosts.ts'
import { us } from '../../helpers/owner.ts'

const names = [
  { name: 'home.macula.local', ip: '127.0.0.1' },
  { name: 'grafana.macula.local', ip: '127.0.0.4' },
  { name: 'dns.macula.local', ip: '127.0.0.1' },
]
const block =
  '# BEGIN Macula platform (setup-hosts)\n# Written by the Macula platform (installation 0123456789ab in /srv/macula/.macula).\n127.0.0.1 home.macula.local dns.macula.local\n127.0.0.4 grafana.macula.local\n# END Macula platform\n'

describe('the block in /etc/hosts', () => {
  it('goes behind what is there, one line for each address', () => {
    assert.equal(withNames('127.0.0.1 localhost\n', names, us), `127.0.0.1 localhost\n${block}`)
    assert.equal(withNames('127.0.0.1 localhost', names, us), `127.0.0.1 localhost\n${block}`)
    assert.equal(withNames('', names, us), block)
  })

  it('takes the place of an earlier one, and goes without a trace', () => {
    const text = withNames('127.0.0.1 localhost\n', names.slice(1), us)
    assert.equal(withNames(text, names, us), `127.0.0.1 localhost\n${block}`)
    assert.equal(withoutNames(`a\n${block}b\n`), 'a\nb\n')
    assert.equal(withoutNames('a\n'), 'a\n')
  })

  it('is refused where its end is missing, because what follows may be somebody else’s', () => {
    assert.throws(
      () => withNames('# BEGIN Macula platform (setup-hosts)\n192.0.2.1 mine\n', names, us),
      /its end is missing/,
    )
  })
})
