import { ingressListeners } from './addresses.ts'
import type { Platform, Route } from './platform.ts'

/** Group of the routes to the cluster's ingress. */
export const clusterGroup = 'applications'

/** Routes from 127.0.0.2:80 and :443 to the KinD node's ports on the first loopback address; KinD itself maps 4433/udp. None for a cluster elsewhere. */
export function clusterRoutes({ settings, applications, loopback }: Platform): Route[] {
  return ingressListeners(settings, applications.loopback).flatMap(({ ip, port, target }) =>
    target === undefined
      ? []
      : [{ group: clusterGroup, service: 'ingress', listen: { ip, port }, target: { ip: loopback, port: target } }],
  )
}

/** The containers of our cluster that can publish its ways in. */
export function nodeNames({ settings }: Platform): string[] {
  return [`${settings.CLUSTER_NAME}-control-plane`, `${settings.CLUSTER_NAME}-external-load-balancer`]
}
