import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alertsLine, firingAlerts } from '../../../lib/stack/alerts.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import type { http } from '../../../lib/system/http.ts'
import { examplePlatform } from '../../helpers/example.ts'

const answering = (status: number, body: string) => (async () => ({ status, headers: {}, body })) as typeof http
const alert = (state: string, annotations?: object) => ({
  state,
  labels: { alertname: 'ServiceDown', severity: 'critical' },
  annotations,
  activeAt: '2026-11-23T10:00:00Z',
})

test('alerts that are firing are told by their summary, and pending ones not yet', async () => {
  const alerts = [alert('firing', { summary: 'loki does not answer' }), alert('pending'), alert('firing')]
  const found = await firingAlerts(await examplePlatform(), answering(200, JSON.stringify({ data: { alerts } })))
  assert.equal(alertsLine(found), 'Alerts: loki does not answer; ServiceDown')
})

test('no alert is a line, too', async () => {
  const found = await firingAlerts(await examplePlatform(), answering(200, '{"data":{"alerts":[]}}'))
  assert.equal(alertsLine(found), 'Alerts: none is firing')
})

test('where Prometheus does not answer, nothing is said to be well', async () => {
  const platform = await examplePlatform()
  for (const request of [
    answering(502, 'bad gateway'),
    answering(200, '<html>'),
    (async () => {
      throw new PlatformError('refused')
    }) as typeof http,
  ])
    assert.match(alertsLine(await firingAlerts(platform, request)) ?? '', /^Alerts: not known, /)
})

test('a platform without Prometheus has no alerts to tell of', async () => {
  const platform = await examplePlatform()
  const services = platform.services.filter(({ name }) => name !== 'prometheus')
  assert.equal(alertsLine(await firingAlerts({ ...platform, services })), undefined)
})
