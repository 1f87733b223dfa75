import { possibleDnsListeners, versionName } from '../../platform/dns-server.ts'
import { type Platform, serviceNamed } from '../../platform/platform.ts'
import { fillTemplate, type RenderedFile, readTemplate, templatesIn } from '../../platform/render.ts'
import { addressText } from '../../system/address.ts'
import { gatewayFiles } from './gateway.ts'
import { localFiles } from './local.ts'
import { portalFiles, portalIndex } from './portal.ts'
import { secretFiles } from './secrets.ts'
import { scrapeTargets } from './targets.ts'

/** Templates that are mounted just as they stand: file under `templates/` → path in the state folder. */
const verbatim: Readonly<Record<string, string>> = {
  'registry/config.yml': 'config/registry/config.yml',
  'collector/collector.yml': 'config/collector/collector.yml',
  'prometheus/prometheus.yml': 'config/prometheus/prometheus.yml',
  'prometheus/rules/macula.yml': 'config/prometheus/rules/macula.yml',
  'grafana/datasources/macula.yml': 'config/grafana/datasources/macula.yml',
  'grafana/dashboards/macula.yml': 'config/grafana/dashboards/macula.yml',
  'postgres/start.sh': 'config/postgres/start.sh',
  'postgres/role.sh': 'config/postgres/role.sh',
  'postgres/metrics-role.sh': 'config/postgres/metrics-role.sh',
  'postgres/init-metrics.sh': 'config/postgres/init-metrics.sh',
  'machine-metrics/measure.sh': 'config/machine-metrics/measure.sh',
  'machine-metrics/containers.awk': 'config/machine-metrics/containers.awk',
  'machine-metrics/nginx.conf': 'config/machine-metrics/nginx.conf',
  'machine-metrics/dnsmasq.awk': 'config/machine-metrics/dnsmasq.awk',
  'powerdns-db/init-schema.sql': 'config/powerdns-db/init-schema.sql',
  'timescaledb/init.sql': 'config/timescaledb/init.sql',
}

/** Below `templates/`; every dashboard in it is given to Grafana. */
const dashboardFolder = 'grafana/dashboards'

/**
 * Every file that the containers mount, configurations and secrets, with paths relative to the state folder. Reads templates and the user's own
 * rules, dashboards and pipelines, and writes nothing; throws where one of those cannot be used.
 * Files under `secrets/` can be read by everyone who gets as far as the folder, because each container has a user of its own: the folder
 * keeps everybody out, so it has to have mode 0700.
 */
export async function renderConfigs(platform: Platform): Promise<RenderedFile[]> {
  const copies = Object.entries(verbatim).map(async ([template, path]) => ({
    path,
    content: await readTemplate(template),
  }))
  const dashboards = (await templatesIn(dashboardFolder)).filter(name => name.endsWith('.json'))
  const shown = await Promise.all(
    dashboards.map(async name => ({
      path: `config/${dashboardFolder}/${name}`,
      content: await readTemplate(`${dashboardFolder}/${name}`),
    })),
  )
  const portal = await portalFiles(platform)
  return [
    ...(await Promise.all(copies)),
    ...shown,
    ...(await localFiles(platform.paths.localObservability, shown)),
    {
      path: 'config/powerdns/pdns.conf',
      content: fillTemplate(
        await readTemplate('powerdns/pdns.conf'),
        {
          databaseAddress: serviceNamed(platform, 'powerdns-db').address,
          subnet: platform.settings.MACULA_SUBNET,
          // Docker gives a network's first address to the machine
          networkGateway: platform.settings.MACULA_SUBNET.replace(/0\/16$/, '1'),
        },
        'powerdns/pdns.conf',
      ),
    },
    {
      path: 'config/loki/loki.yml',
      content: fillTemplate(
        await readTemplate('loki/loki.yml'),
        { days: platform.settings.LOGS_DAYS },
        'loki/loki.yml',
      ),
    },
    {
      path: 'config/tempo/tempo.yml',
      content: fillTemplate(
        await readTemplate('tempo/tempo.yml'),
        // it knows no days
        { hours: String(Number(platform.settings.TRACES_DAYS) * 24) },
        'tempo/tempo.yml',
      ),
    },
    {
      path: 'config/machine-metrics/dnsmasq.sh',
      content: fillTemplate(
        await readTemplate('machine-metrics/dnsmasq.sh'),
        {
          listeners: possibleDnsListeners(platform.loopback).map(addressText).join(' '),
          versionName,
        },
        'machine-metrics/dnsmasq.sh',
      ),
    },
    { path: 'config/prometheus/targets/services.json', content: scrapeTargets(platform.services) },
    ...portal,
    ...(await gatewayFiles(platform, portal.find(({ path }) => path === portalIndex)?.content ?? '')),
    ...(await secretFiles(platform.settings)),
  ]
}
