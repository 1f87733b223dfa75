import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { accountsFolder } from '../../../lib/journal/accounts.ts'
import { type Change, parseLine } from '../../../lib/journal/records.ts'

const id = randomUUID()
const line = (change: object) =>
  JSON.stringify({ id, scope: 'dns/resolver', at: '2026-11-26T12:00:00.000Z', ...change })
const file = { kind: 'file', content: Buffer.from('text').toString('base64'), mode: 0o644, uid: 0, gid: 0 } as const
const changes: Change[] = [
  { kind: 'path', path: '/etc/resolv.conf', before: { kind: 'link', target: '../run/x' }, after: file },
  { kind: 'path', path: '/etc/hosts', before: { kind: 'absent' }, after: file, block: { begin: '# a', end: '# b' } },
  { kind: 'path', path: '/home/me/.kube/config', before: file, after: file, block: { context: 'kind-macula' } },
  { kind: 'directory', path: '/etc/macula' },
  { kind: 'accounts', folder: accountsFolder(id), packages: ['dnsmasq-base', 'libnftnl11', 'gcc-12-base:amd64'] },
  { kind: 'packages', manager: 'apt', names: ['dnsmasq-base', 'libstdc++6'] },
  { kind: 'unit', unit: 'macula-route-grafana-3000@x.socket', enabled: false, active: true },
  { kind: 'process', name: 'route-grafana-3000', command: ['socat', '', '-x'] },
  { kind: 'started', name: 'route-grafana-3000', identity: { pid: 4711, startTime: '99@boot' } },
  { kind: 'after-undo', command: ['sh', '-c', 'x', 'tell'] },
]

describe('a line of the journal', () => {
  for (const change of changes)
    it(`records a change of kind ${change.kind}, and is read as it was written`, () =>
      assert.deepEqual(parseLine(line(change)), JSON.parse(line(change))))

  const path = changes[0]!
  for (const [name, change, message] of [
    ['a path that is not absolute', { ...path, path: 'etc/hosts' }, /path should be an absolute path/],
    ['a path that leaves its folder', { ...path, path: '/etc/macula/../shadow' }, /path should be an absolute path/],
    ['account files in another folder', { ...changes[4], folder: '/etc' }, /folder is not where copies/],
    ['account files of another record', { ...changes[4], folder: accountsFolder(randomUUID()) }, /folder is not where/],
    ['an option as a package', { ...changes[5], names: ['--auto-remove'] }, /names\.0 should be a name/],
    ['an option as a unit', { ...changes[6], unit: '--now' }, /unit should be a name/],
    ['a pid that stands for many processes', { ...changes[8], identity: { pid: -1, startTime: '' } }, /pid/],
    ['a state of no kind', { ...path, before: { kind: 'socket' } }, /before\.kind/],
    ['content that is not base64', { ...path, after: { ...file, content: '<>' } }, /after\.content/],
    ['a command of nothing', { ...changes[9], command: [] }, /command/],
    ['a kind that nobody writes', { kind: 'everything' }, /kind/],
    ['an id that is not one', { ...path, id: '../x' }, /id/],
  ] as const)
    it(`is refused with ${name}`, () => assert.throws(() => parseLine(line(change)), message))
})
