// A `docker` without an engine: containers, networks and volumes are entries of the JSON file that FAKE_DOCKER names. It knows what the tasks of the
// platform ask; containers are healthy once they are started, and nothing listens for them.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

const file = process.env.FAKE_DOCKER
const state = JSON.parse(readFileSync(file, 'utf8'))
const args = process.argv.slice(2)
const argumentAfter = (...names) => args[args.findIndex(arg => names.includes(arg)) + 1] ?? ''
const format = args.includes('--format') ? argumentAfter('--format') : ''
const print = lines =>
  process.stdout.write(
    [lines]
      .flat()
      .map(line => `${line}\n`)
      .join(''),
  )
const save = () => writeFileSync(file, JSON.stringify(state, null, 1))
const fail = text => {
  process.stderr.write(`${text}\n`)
  process.exit(1)
}
const read = path => parse(readFileSync(join(process.cwd(), path), 'utf8'), { merge: true, maxAliasCount: -1 })
/** The project file with what it includes; of a service that several files describe, only the labels are merged. */
function composeFile() {
  const project = read('docker-compose.yml')
  for (const file of (project.include ?? []).flatMap(({ path }) => path).map(path => read(path)))
    for (const kind of ['services', 'networks', 'volumes'])
      for (const [name, described] of Object.entries(file[kind] ?? {})) {
        const known = project[kind]?.[name]
        const labels = { ...known?.labels, ...described?.labels }
        project[kind] = { ...project[kind], [name]: { ...known, ...described, labels } }
      }
  return project
}
const hashOf = service => String(JSON.stringify(service).length)
const find = (kind, names) => state[kind].filter(({ id, name }) => names.includes(id) || names.includes(name))
const rest = args
  .slice(2)
  .filter((arg, index, all) => !arg.startsWith('-') && !/^--(format|filter|type)$/.test(all[index - 1]))

function up() {
  const { name: project, services, networks = {}, volumes = {} } = composeFile()
  const named = args.slice(args.indexOf('up') + 1).filter(word => Object.hasOwn(services, word))
  for (const [name, service] of Object.entries(services)) {
    if (named.length > 0 && !named.includes(name)) continue
    const containerName = service.container_name ?? `${project}-${name}-1`
    const known = state.containers.find(({ name }) => name === containerName)
    if (known) known.running = true
    else
      state.containers.push({
        ...{ id: `c-${containerName}`, name: containerName, project, running: true, image: service.image },
        folder: process.cwd(),
        labels: {
          ...service.labels,
          'macula.standin': 'placeholder',
          'com.docker.compose.service': name,
          'com.docker.compose.config-hash': hashOf(service),
        },
      })
  }
  for (const [kind, described] of [
    ['networks', networks],
    ['volumes', volumes],
  ])
    for (const [key, each] of Object.entries(described)) {
      const name = each?.name ?? `${project}_${key}`
      if (!each?.external && find(kind, [name]).length === 0)
        state[kind].push({
          id: `${kind}-${name}`,
          name,
          project,
          labels: each?.labels ?? {},
          subnet: each?.ipam?.config?.[0]?.subnet,
        })
    }
  save()
}

function compose() {
  if (args.includes('version')) return print('5.6.0')
  if (args.includes('--hash'))
    return print(Object.entries(composeFile().services).map(([name, service]) => `${name} ${hashOf(service)}`))
  if (args.includes('config'))
    return args.includes('json') ? print('{}') : process.stdout.write(readFileSync(0, 'utf8'))
  if (args.includes('up')) return up()
  if (args.includes('stop')) {
    for (const each of state.containers) if (each.project === composeFile().name) each.running = false
    return save()
  }
  return undefined
}

const owner = ({ labels }) => labels?.['io.macula.installation'] ?? ''
const created = '2026-11-26 10:00:00 +0000 UTC'
const rows = {
  ps: ({ id, name, project, folder, ...each }) => [
    id,
    name,
    project ?? '',
    owner(each),
    created,
    folder ?? '',
    '',
    '',
    '',
  ],
  network: ({ id, name, project, ...each }) => [id, name, project ?? '', owner(each), created],
  volume: ({ name, project, ...each }) => [name, project ?? '', owner(each)],
}
const list = (kind, row) => print(state[kind].map(each => JSON.stringify(row(each))))

function ps() {
  const wanted =
    args.includes('--all') || args.includes('-a') ? state.containers : state.containers.filter(({ running }) => running)
  if (args.some(arg => /^(--filter=)?label=/.test(arg))) return
  if (format.startsWith('[')) return list('containers', rows.ps)
  if (args.includes('--quiet')) return print(wanted.map(({ id }) => id))
  print(
    wanted.map(({ id, name }) =>
      format.replace('{{.ID}}', id).replace('{{.Names}}', name).replace('{{.Ports}}', '').replaceAll('\\t', '\t'),
    ),
  )
}

function inspectContainers() {
  const found = find('containers', rest)
  print(
    JSON.stringify(
      found.map(({ id, name, image, running, labels }) => ({
        ...{
          Id: id,
          Name: `/${name}`,
          Image: `sha256:${image}`,
          RestartCount: 0,
          Config: { Image: image, Labels: labels },
        },
        State: {
          Status: running ? 'running' : 'exited',
          ExitCode: 0,
          StartedAt: '2026-11-26T10:00:00Z',
          FinishedAt: '2026-11-26T10:00:00Z',
        },
      })),
    ),
  )
}

function inspectNetworks() {
  const found = find('networks', rest)
  if (found.length === 0) fail(`Error response from daemon: network ${rest} not found`)
  if (format) return print(found.map(({ id }) => id))
  print(
    JSON.stringify(
      found.map(({ id, name, subnet }) => ({
        Name: name,
        Id: id,
        IPAM: { Config: subnet ? [{ Subnet: subnet }] : [] },
      })),
    ),
  )
}

function remove(kind) {
  const gone = find(kind, rest.concat(args.slice(1)))
  state[kind] = state[kind].filter(each => !gone.includes(each))
  save()
}

const commands = {
  version: () => print(format.includes('Platform') ? '' : '29.10.0'),
  info: () => print(format.includes('Cgroup') ? '2' : '/var/lib/docker engine=29.10.0 compose=5.6.0'),
  context: () => print('unix:///var/run/docker.sock'),
  compose,
  ps,
  'image inspect': () => print(rest.map(name => `sha256:${name}`)),
  'container inspect': inspectContainers,
  inspect: inspectContainers,
  'network ls': () =>
    format.startsWith('[') ? list('networks', rows.network) : print(state.networks.map(({ id }) => id)),
  'network inspect': inspectNetworks,
  'network rm': () => remove('networks'),
  'volume ls': () => list('volumes', rows.volume),
  'volume inspect': () => {},
  'volume rm': () => remove('volumes'),
  rm: () => remove('containers'),
  stop: () => {
    for (const each of find('containers', args.slice(1))) each.running = false
    save()
  },
  exec: () => {},
  logs: () => {},
}
const command = commands[`${args[0]} ${args[1]}`] ?? commands[args[0]]
if (command === undefined) fail(`this docker does not know: ${args.join(' ')}`)
command()
