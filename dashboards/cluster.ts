import { dashboard } from './dashboard.ts'
import { labelOf, logs, promql, rate, series, stat, table } from './panels.ts'

const pod = 'k8s_namespace_name, k8s_pod_name'
const chosen = 'k8s_namespace_name=~"$namespace"'
const podName = { legend: '{{k8s_namespace_name}}/{{k8s_pod_name}}' }

export const cluster = dashboard({
  uid: 'macula-cluster',
  title: 'Cluster',
  question: 'Are the nodes and pods of the cluster well?',
  variables: [labelOf('k8s_pod_phase', 'k8s_namespace_name', 'namespace', 'Namespace')],
  rows: [
    [
      stat(
        'Nodes ready',
        'Whether each node takes pods.',
        promql('min by (k8s_node_name) (k8s_node_condition_ready)', { legend: '{{k8s_node_name}}' }),
        {
          states: { [-1]: ['unknown', 'orange'], 0: ['not ready', 'red'], 1: ['ready', 'green'] },
        },
      ),
      stat('Pods running', 'Of the chosen namespaces.', promql(`count(k8s_pod_phase{${chosen}} == 2) or vector(0)`), {
        unit: 'none',
      }),
      // 1 pending, 2 running, 3 succeeded, 4 failed, 5 unknown
      stat(
        'Pods not well',
        'That wait, have failed, or are in an unknown state.',
        promql(`count(k8s_pod_phase{${chosen}} == 1 or k8s_pod_phase{${chosen}} >= 4) or vector(0)`),
        {
          unit: 'none',
          steps: ['green', [1, 'red']],
        },
      ),
      stat(
        'Restarts',
        'Of containers, in the last hour.',
        promql(
          `sum(max_over_time(k8s_container_restarts{${chosen}}[1h]) - min_over_time(k8s_container_restarts{${chosen}}[1h]))`,
        ),
        {
          unit: 'none',
          steps: ['green', [1, 'orange'], [3, 'red']],
        },
      ),
    ],
    { heading: 'Nodes' },
    [
      series(
        'Processor',
        'That each node uses; 1 = one processor busy all the time.',
        promql('sum by (k8s_node_name) (k8s_node_cpu_usage)', { legend: '{{k8s_node_name}}' }),
        { unit: 'none' },
      ),
      series(
        'Memory',
        'Working set of each node.',
        promql('sum by (k8s_node_name) (k8s_node_memory_working_set_bytes)', { legend: '{{k8s_node_name}}' }),
        { unit: 'bytes' },
      ),
      series(
        'Disk',
        'Share of its file system that each node uses. The kubelet removes images and pods when it is nearly full.',
        promql('max by (k8s_node_name) (k8s_node_filesystem_usage_bytes / k8s_node_filesystem_capacity_bytes)', {
          legend: '{{k8s_node_name}}',
        }),
        { unit: 'percentunit', max: 1 },
      ),
    ],
    { heading: 'Pods' },
    [
      table('Pods', 'What each pod uses, and how often its containers were restarted.', {
        Phase: {
          expr: `max by (${pod}) (k8s_pod_phase{${chosen}})`,
          states: {
            1: ['pending', 'orange'],
            2: ['running', 'green'],
            3: ['succeeded', 'blue'],
            4: ['failed', 'red'],
            5: ['unknown', 'orange'],
          },
        },
        Restarts: {
          expr: `sum by (${pod}) (k8s_container_restarts{${chosen}})`,
          steps: ['green', [1, 'orange'], [3, 'red']],
        },
        Processor: { expr: `sum by (${pod}) (k8s_pod_cpu_usage{${chosen}})`, unit: 'none' },
        Memory: { expr: `sum by (${pod}) (k8s_pod_memory_working_set_bytes{${chosen}})`, unit: 'bytes' },
      }),
    ],
    [
      series(
        'Processor',
        'By pod; 1 = one processor busy all the time.',
        promql(`sum by (${pod}) (k8s_pod_cpu_usage{${chosen}})`, podName),
        { unit: 'none', stacked: true },
      ),
      series(
        'Memory',
        'Working set, by pod.',
        promql(`sum by (${pod}) (k8s_pod_memory_working_set_bytes{${chosen}})`, podName),
        { unit: 'bytes', stacked: true },
      ),
      series(
        'Network',
        'Received and sent, by pod.',
        promql(`sum by (${pod}) (${rate(`k8s_pod_network_io_bytes_total{${chosen}}`)})`, podName),
        { unit: 'Bps' },
      ),
    ],
    [
      series(
        'Deployments',
        'Pods of each that are available, of those that it should have. Below 1 is a rollout, or a fault.',
        promql(
          `min by (k8s_namespace_name, k8s_deployment_name) (k8s_deployment_available{${chosen}} / k8s_deployment_desired{${chosen}})`,
          { legend: '{{k8s_namespace_name}}/{{k8s_deployment_name}}' },
        ),
        { unit: 'percentunit' },
      ),
      series(
        'Restarts',
        'How often each container was restarted since its pod was made.',
        promql(`sum by (k8s_pod_name, k8s_container_name) (k8s_container_restarts{${chosen}})`, {
          legend: '{{k8s_pod_name}} {{k8s_container_name}}',
        }),
        { unit: 'none' },
      ),
    ],
    { heading: 'Events and logs' },
    [logs('Events', 'What Kubernetes says of its pods and nodes.', '{service_name="events"}')],
    [logs('Log lines', 'Of the pods of the chosen namespaces.', '{k8s_namespace_name=~"$namespace"}')],
  ],
})
