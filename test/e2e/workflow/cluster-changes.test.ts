import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { applications, countedDuring, kubectl, speakingTo, trustedCas } from '../../helpers/cluster.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../../helpers/sandbox.ts'

/** A program of somebody who knows nothing of the platform but PORT. */
const program = `
const page = (request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain' })
  response.write('shop of ' + request.headers.host + '\\n')
  setTimeout(() => response.end('end'), request.url === '/slow' ? 2500 : 0)
}
const server = require('node:http').createServer(page).listen(process.env.PORT)
process.once('SIGTERM', () => server.close())
`
const dockerfile = 'FROM node:24-alpine\nCOPY shop.cjs /shop.cjs\nCMD ["node", "/shop.cjs"]\n'

describe('a cluster and what changes about it', { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  let folder: string
  let own: Record<string, string>
  const { task, succeeds, fails, text } = speakingTo(() => sandbox)

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-shop-'))
    await writeFile(join(folder, 'shop.cjs'), program)
    await writeFile(join(folder, 'Dockerfile'), dockerfile)
    await writeFile(join(folder, 'local.yml'), 'x-macula:\n  applications:\n    hosts: [shop]\n')
    own = { MACULA_LOCAL_COMPOSE: join(folder, 'local.yml'), SHOP_SOURCE: folder }
    sandbox = await startSandbox({ cluster: true })
  })
  after(async () => {
    await sandbox?.end()
    await rm(folder, { recursive: true, force: true })
  })

  it('an application of the user, named in one block, is deployed, has a name, a tile and a row in status', async () => {
    await succeeds('start-infrastructure', own)
    await succeeds('build-and-push shop', own)
    const said = await succeeds('deploy-apps', own)
    assert.match(said, /http:\/\/shop\.macula\.local/)
    assert.match(await text('curl -fsS http://shop.macula.local'), /^shop of shop\.macula\.local\nend$/)
    await text('curl -fsS --cacert $MACULA_STATE_DIR/tls/ca.crt https://shop.macula.local')
    assert.match(await text('curl -fsS http://home.macula.local'), /shop\.macula\.local/)
    const { cluster } = JSON.parse((await task('status --json', own)).stdout)
    const row = cluster.find(({ name }: { name: string }) => name === 'shop')
    assert.deepEqual([row?.kind, row?.state], ['application', 'healthy'], JSON.stringify(row))
  })

  it('no request fails or is refused while the ingress, or an application, is replaced', async context => {
    const ip = await text(`docker inspect --format '{{.NetworkSettings.Networks.kind.IPAddress}}' macula-control-plane`)
    const restart = (namespace: string, name: string) => () =>
      text(
        `${kubectl} -n ${namespace} rollout restart deployment/${name} && ${kubectl} -n ${namespace} rollout status deployment/${name} --timeout 120s`,
      )
    const ofApplication = await countedDuring(sandbox, ip, 'shop.macula.local', restart('macula', 'shop'))
    context.diagnostic(`application: ${JSON.stringify(ofApplication)}`)
    assert.deepEqual([ofApplication.failed, ofApplication.refused], [[], 0])
    assert.ok(ofApplication.answered > 20 && ofApplication.slow > 5)
    const ofIngress = await countedDuring(sandbox, ip, 'shop.macula.local', restart('ingress', 'ingress-controller'))
    context.diagnostic(`ingress: ${JSON.stringify(ofIngress)}`)
    assert.deepEqual([ofIngress.failed, ofIngress.refused], [[], 0])
    assert.ok(ofIngress.answered > 20 && ofIngress.slow > 5)
  })

  it('an application whose block is gone is removed, and a source of it that is left in .env is a warning', async () => {
    await text('echo SHOP_SOURCE=/somewhere >>$MACULA_ENV_FILE')
    const said = await succeeds('deploy-apps --yes')
    assert.match(said, /! SHOP_SOURCE in \.env belongs to no application/)
    assert.match(said, /Remove .*Deployment macula\/shop/)
    assert.equal(
      await text(`${kubectl} -n macula get deployments,services,ingresses -l app.kubernetes.io/name=shop -o name`),
      '',
    )
    await succeeds('status')
    await text("sed -i '/^SHOP_SOURCE/d' $MACULA_ENV_FILE")
  })

  it('images that went with the volume of the registry are pushed again', async () => {
    await succeeds('stop-infrastructure --volumes --yes')
    await succeeds('start-infrastructure')
    const said = await succeeds('deploy-apps')
    assert.match(said, /✓ Look for the images in the registry {2}updated/)
    assert.match(await succeeds('deploy-apps'), /✓ Look for the images in the registry {2}unchanged/)
  })

  it('a cluster that somebody else created under our name stays as it is', async () => {
    const nodes = `docker inspect --format '{{.Id}} {{.State.StartedAt}} {{.State.FinishedAt}}' macula-control-plane`
    const before = await text(nodes)
    const elsewhere = { MACULA_STATE_DIR: '/run/macula/elsewhere' }
    for (const words of [
      'setup-cluster --yes --recreate',
      'stop-cluster',
      'delete-cluster --yes',
      'deploy-apps --yes',
    ]) {
      const { stderr } = await fails(words, elsewhere)
      assert.match(stderr, /✗ The KinD cluster macula was not created by this installation/)
      assert.match(stderr, /ago, from \/run\/macula\/state\n/)
    }
    assert.equal(await text(nodes), before)
    // what git clean leaves: the cluster, and nothing that says whose it is
    await text('cp -a $MACULA_STATE_DIR /run/macula/kept && rm $MACULA_STATE_DIR/installation.json')
    assert.match((await fails('stop-cluster')).stderr, /task setup-cluster -- --adopt/)
    await succeeds('setup-cluster --adopt --yes')
    await text('cp /run/macula/kept/installation.json $MACULA_STATE_DIR/installation.json')
    assert.equal(await text(nodes), before)
  })

  it('after a change of the domain every URL answers, over https with a new CA, and the old one is not trusted any more', async context => {
    const casBefore = await text(trustedCas)
    await succeeds('deploy-ingress --trust')
    const oldCa = await text('cat $MACULA_STATE_DIR/tls/ca.crt')
    const moved = { MACULA_DOMAIN: 'dev.test' }
    await succeeds('platform --yes', moved)
    const said = await succeeds('cluster --yes', moved)
    assert.match(said, /✓ Withdraw the trust in the previous CA {2}removed/)
    assert.notEqual(await text('cat $MACULA_STATE_DIR/tls/ca.crt'), oldCa)
    assert.equal(await text(trustedCas), casBefore)
    for (const application of applications) await text(`curl -fsS -o /dev/null http://${application}.dev.test`)
    for (const name of [
      'home',
      'registry',
      'dns',
      'dns-admin',
      'prometheus',
      'grafana',
      'loki',
      'tempo',
      's3',
      's3-console',
    ]) {
      const status = await text(`curl -sS -o /dev/null -w '%{http_code}' http://${name}.dev.test/`)
      // a placeholder says 501, an API may have nothing at /; refused (421) and not reached (502 to 504) are wrong
      assert.match(status, /^([23]\d\d|40[0134]|501)$/, name)
    }
    for (const application of applications)
      await text(`curl -fsS --cacert $MACULA_STATE_DIR/tls/ca.crt https://${application}.dev.test`)
    await succeeds('deploy-ingress --trust', moved)
    for (const application of applications) await text(`curl -fsS -o /dev/null https://${application}.dev.test`)
    assert.match((await sandbox.exec('curl -sS https://console.macula.local 2>&1')).stdout, /certificate|resolve|SSL/)
    if (!existsSync('/usr/bin/chromium')) return context.diagnostic('no Chromium here')
    const urls = applications.flatMap(name => [`http://${name}.dev.test/`, `https://${name}.dev.test/`])
    const policies = '/etc/chromium/policies/managed'
    const authority = (await text('cat $MACULA_STATE_DIR/tls/ca.crt')).replaceAll(/-----[^-]+-----|\s/g, '')
    await text(`mkdir -p ${policies} && echo '{"CACertificates":["${authority}"]}' >${policies}/macula.json`)
    const titles = JSON.parse(await text(`node test/helpers/page-titles.mjs ${urls.join(' ')}`))
    assert.deepEqual(
      titles,
      urls.map(url => [url, 200, new URL(url).hostname.split('.')[0]]),
    )
  })
})
