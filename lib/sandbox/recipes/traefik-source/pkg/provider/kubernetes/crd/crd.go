package crd

import "github.com/traefik/traefik/v3/pkg/provider/absent"

type Provider struct {
	absent.Provider
}

func (*Provider) FillExtensionBuilderRegistry(any) {}
