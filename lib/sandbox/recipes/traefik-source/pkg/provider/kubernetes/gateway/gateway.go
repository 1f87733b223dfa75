package gateway

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider struct {
	absent.Provider
	EntryPoints map[string]Entrypoint
}

type Entrypoint struct {
	Address        string
	HasHTTPTLSConf bool
}
