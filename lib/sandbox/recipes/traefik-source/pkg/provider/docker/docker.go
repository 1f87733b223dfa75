package docker

import (
	ptypes "github.com/traefik/paerser/types"
	"github.com/traefik/traefik/v3/pkg/provider/absent"
)

type Provider struct {
	absent.Provider
	HTTPClientTimeout ptypes.Duration
}

type SwarmProvider struct {
	absent.Provider
	HTTPClientTimeout, RefreshSeconds ptypes.Duration
}
