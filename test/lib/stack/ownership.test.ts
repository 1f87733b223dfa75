import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { readInstallation, recordOwned } from '../../../lib/platform/installation.ts'
import type { Platform } from '../../../lib/platform/platform.ts'
import { projectContainers } from '../../../lib/stack/docker.ts'
import { adopt, findNotOurs, ownThings, requireOwnership, settleInstallation } from '../../../lib/stack/ownership.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import type { Shell } from '../../../lib/system/exec.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { shellAnswering } from '../../helpers/shell.ts'
import { installedState, listedContainer, listedNetwork, listedVolume, ownId } from '../../helpers/things.ts'

describe('what on this machine is ours', () => {
  let platform: Platform
  let state: Awaited<ReturnType<typeof installedState>>
  beforeEach(async () => {
    state = await installedState()
    const whole = await goodPlatform()
    platform = { ...whole, paths: { ...whole.paths, stateDir: state.stateDir } }
  })
  afterEach(() => state.remove())

  const engine = ({ ps = '', networks = '', volumes = '', created = '2026-11-20T00:00:00Z' } = {}): Shell =>
    shellAnswering({
      'docker ps': { stdout: ps },
      'docker network ls': { stdout: networks },
      'docker volume ls': { stdout: volumes },
      'docker volume inspect': {
        stdout: volumes.replace(/^\["([^"]*)".*$/gm, (_, name) => JSON.stringify([name, created])),
      },
      'docker container inspect': { stdout: '[]' },
    })
  const error = async (shell: Shell): Promise<PlatformError> =>
    requireOwnership(platform, shell).then(
      () => assert.fail('nothing was refused'),
      error => error,
    )

  it('is what carries our label, whatever its name, and nothing where there is no id', async () => {
    const shell = engine({
      ps:
        listedContainer({ id: 'c1', installation: ownId, project: 'renamed' }) +
        listedContainer({ id: 'c2', installation: 'ffffffffffff' }) +
        listedContainer({ id: 'c3' }),
      networks: listedNetwork({ id: 'n1', installation: ownId }),
      volumes: listedVolume({ id: 'v1', installation: ownId }) + listedVolume({ id: 'macula_data' }),
    })
    assert.deepEqual(
      (await ownThings(platform.paths, shell)).map(({ id }) => id),
      ['c1', 'n1', 'v1'],
    )
    await rm(join(state.stateDir, 'installation.json'))
    assert.deepEqual(await ownThings(platform.paths, engine()), [])
  })

  it("is not a container of somebody's project of that name: it is named with project, folder and age, and the ways out", async () => {
    const day = new Date(Date.now() - 3 * 86_400_000).toISOString().replace('T', ' ').replace(/\..*/, ' +0000 UTC')
    const theirs = listedContainer({ id: 'x', name: 'macula-web-1', folder: '/home/jane/macula', created: day })
    const { message, why, hint } = await error(engine({ ps: theirs }))
    assert.equal(message, 'There is a container with the names of ours, not created by this installation')
    assert.equal(
      why,
      'container macula-web-1: Compose project macula, started from /home/jane/macula, created 3 days ago',
    )
    assert.equal(
      hint,
      'MACULA_PROJECT=macula-platform in .env   # gives ours other names\nor remove theirs, with all that is in them: docker rm --force macula-web-1',
    )
    await assert.rejects(projectContainers(platform, engine({ ps: theirs })), /not created by this installation/)
  })

  it('is not what only has the name of a container, network or volume of ours', async () => {
    const found = await findNotOurs(
      platform,
      engine({
        ps:
          listedContainer({ id: 'x', name: 'macula-nginx', project: '' }) +
          listedContainer({ id: 'y', name: 'other', project: 'other' }),
        networks: listedNetwork({ id: 'n', name: 'macula-infra' }) + listedNetwork({ id: 'o', name: 'macula_default' }),
        volumes: listedVolume({ id: 'macula_minio-data' }) + listedVolume({ id: 'macula_something' }),
      }),
    )
    assert.deepEqual(
      found.foreign.map(({ kind, name }) => `${kind} ${name}`),
      ['container macula-nginx', 'network macula-infra', 'volume macula_minio-data'],
    )
    assert.equal(found.foreign[2]?.created?.toISOString(), '2026-11-20T00:00:00.000Z')
    assert.deepEqual(found.adoptable, [])
  })

  it('is not what another installation labelled, even from this folder of another engine', async () => {
    const { foreign } = await findNotOurs(
      platform,
      engine({ volumes: listedVolume({ id: 'macula_minio-data', installation: 'ffffffffffff' }) }),
    )
    assert.equal(foreign.length, 1)
  })

  it('cannot be forged by the text of a label', async () => {
    const folder = `/x"]\n["c9","macula-nginx","macula","${ownId}"`
    const { foreign } = await findNotOurs(platform, engine({ ps: listedContainer({ id: 'x', folder }) }))
    assert.deepEqual(
      foreign.map(thing => thing.folder),
      [folder],
    )
  })

  const earlier = () => ({
    ps: listedContainer({
      id: 'c1',
      name: 'macula-minio',
      folder: state.stateDir,
      networks: 'macula-infra',
      mounts: 'macula_minio-data,/etc/x',
    }),
    networks: listedNetwork({ id: 'n1', name: 'macula-infra' }),
    volumes: listedVolume({ id: 'macula_minio-data' }),
  })

  it('can be taken over when it was started from this checkout, with what only its containers use', async () => {
    const others = earlier()
    others.volumes += listedVolume({ id: 'macula_loki-data' })
    const found = await findNotOurs(platform, engine(others))
    assert.deepEqual(
      found.adoptable.map(({ name }) => name),
      ['macula-minio', 'macula-infra', 'macula_minio-data'],
    )
    assert.deepEqual(
      found.foreign.map(({ name }) => name),
      ['macula_loki-data'],
    )
    const { hint } = await error(engine(earlier()))
    assert.match(hint ?? '', /^task start-infrastructure -- --adopt/)
  })

  it('is ours once taken over, and only that container, network and volume', async () => {
    await adopt(platform, await findNotOurs(platform, engine(earlier())))
    await requireOwnership(platform, engine(earlier()))
    assert.equal((await readInstallation(platform.paths))?.id, ownId)
    assert.equal((await ownThings(platform.paths, engine(earlier()))).length, 3)
    const later = engine({
      ...earlier(),
      created: '2026-11-21T00:00:00Z',
      networks: listedNetwork({ id: 'n2', name: 'macula-infra' }),
    })
    assert.deepEqual(
      (await ownThings(platform.paths, later)).map(({ name }) => name),
      ['macula-minio'],
    )
  })

  it('has its former id again after its state folder was deleted, and so its networks and volumes', async () => {
    await rm(join(state.stateDir, 'installation.json'))
    const installation = 'abcabcabcabc'
    const left = {
      ps: listedContainer({ id: 'c1', name: 'macula-minio', folder: state.stateDir, installation }),
      networks: listedNetwork({ id: 'n1', name: 'macula-infra', installation }),
      volumes: listedVolume({ id: 'macula_minio-data', installation }),
    }
    const found = await findNotOurs(platform, engine(left))
    assert.equal(found.adoptable.length, 3)
    await adopt(platform, found)
    assert.deepEqual(await readInstallation(platform.paths), { id: installation, owned: {} })
    await requireOwnership(platform, engine(left))
  })

  it('keeps both ids where it had got another one meanwhile', async () => {
    const installation = 'abcabcabcabc'
    const ps = listedContainer({ id: 'c1', name: 'macula-minio', folder: state.stateDir, installation })
    const mine = listedContainer({ id: 'c2', installation: ownId })
    await adopt(platform, await findNotOurs(platform, engine({ ps: ps + mine })))
    assert.equal((await readInstallation(platform.paths))?.id, installation)
    await requireOwnership(platform, engine({ ps: ps + mine }))
  })

  it('looks without changing anything', async () => {
    const file = join(state.stateDir, 'installation.json')
    const before = await readFile(file, 'utf8')
    await findNotOurs(platform, engine(earlier()))
    await error(engine(earlier()))
    assert.equal(await readFile(file, 'utf8'), before)
  })

  it('forgets the records of what is gone, so that a new one of that name is labelled', async () => {
    await recordOwned(platform.paths, 'network', ['macula-infra@n1', 'macula-infra@n0'])
    await recordOwned(platform.paths, 'node', ['k1'])
    const installation = await settleInstallation(
      platform.paths,
      engine({ networks: listedNetwork({ id: 'n1', name: 'macula-infra' }) }),
    )
    assert.deepEqual(installation.owned, { network: ['macula-infra@n1'], node: ['k1'] })
  })

  it('is not guessed at with a damaged id', async () => {
    await writeFile(join(state.stateDir, 'installation.json'), '{}')
    await assert.rejects(requireOwnership(platform, engine()), /installation\.json is damaged/)
  })
})
