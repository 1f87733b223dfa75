// Package absent stands in for the providers that this build of Traefik leaves out: their client libraries take most of the time to compile.
package absent

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// Provider refuses to be used.
type Provider struct{}

// Init says that the provider is not there.
func (*Provider) Init() error {
	return errors.New("this build of Traefik leaves this provider out")
}

// Provide is never called, for Init fails.
func (*Provider) Provide(chan<- dynamic.Message, *safe.Pool) error {
	return nil
}

// Builder is the form of providers that exist once per namespace.
type Builder struct{}

// BuildProviders returns one that refuses to be used.
func (*Builder) BuildProviders() []*Provider {
	return []*Provider{{}}
}
