import assert from 'node:assert/strict'
import { it } from 'node:test'
import { mirrored, nameFromFile } from '../../../lib/stack/image-store.ts'

it('an official image has the folder library behind a mirror', () =>
  assert.equal(mirrored('registry:3.1.1', 'mirror.test/hub'), 'mirror.test/hub/library/registry:3.1.1'))
it('any other image of Docker Hub keeps its path', () =>
  assert.equal(mirrored('grafana/loki:3.7.6', 'mirror.test'), 'mirror.test/grafana/loki:3.7.6'))
it('an image of another registry is not mirrored', () => {
  assert.equal(mirrored('ghcr.io/a/b:1', 'mirror.test'), 'ghcr.io/a/b:1')
  assert.equal(mirrored('localhost:5001/macula/x:dev', 'mirror.test'), 'localhost:5001/macula/x:dev')
})
it('without a mirror every image keeps its name', () => assert.equal(mirrored('nginx:1', ''), 'nginx:1'))

it('an image that is pinned by a digest has a name of its own in an engine that loaded it from a file', () => {
  const hex = 'ab'.repeat(32)
  assert.equal(nameFromFile(`traefik:v3@sha256:${hex}`), `traefik:sha256-${hex}`)
  assert.equal(nameFromFile(`localhost:5001/a/b@sha256:${hex}`), `localhost:5001/a/b:sha256-${hex}`)
  assert.equal(nameFromFile('localhost:5001/a/b:1'), undefined)
})
