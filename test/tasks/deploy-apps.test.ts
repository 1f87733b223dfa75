import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'

describe('deploy-apps --only-check', () => {
  let tasks: StubbedTasks
  before(async () => {
    tasks = await stubbedTasks()
    await tasks.docker(workingDocker)
  })
  after(() => tasks.remove())

  it('makes no certificate where there is none, and says what does', () => {
    const { status, stderr } = tasks.task('deploy-apps', '--only-check', '--yes')
    assert.equal(status, 1)
    assert.match(stderr, /✗ The applications have no certificate yet\n {2}→ .*deploy-apps$/m)
    assert.ok(!existsSync(`${tasks.stateDir}/tls`))
  })

  it('refuses what asks for more, all of it at once', () => {
    const { status, stderr } = tasks.task('deploy-apps', '--only-check', '--no-check', '--build', 'console')
    assert.equal(status, 2)
    for (const word of ['--no-check', '--build', 'console'])
      assert.match(stderr, new RegExp(`${word}: does not go with`))
  })
})
