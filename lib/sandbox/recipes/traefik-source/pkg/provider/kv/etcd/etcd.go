package etcd

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider = absent.Provider
