// Package plugins knows no plugins: their two interpreters are left out of this build of Traefik.
package plugins

import (
	"context"
	"errors"
	"net/http"

	"github.com/traefik/traefik/v3/pkg/provider"
)

var errAbsent = errors.New("this build of Traefik leaves plugins out")

type (
	Descriptor      struct{ ModuleName string }
	LocalDescriptor struct{ ModuleName string }
	Constructor     func(context.Context, http.Handler) (http.Handler, error)

	Builder                   struct{}
	Manager                   struct{}
	ManagerOptions            struct{ Output string }
	RegistryDownloaderOptions struct {
		HTTPClient   *http.Client
		ArchivesPath string
	}
)

func NewBuilder(*Manager, map[string]Descriptor, map[string]LocalDescriptor) (*Builder, error) {
	return &Builder{}, nil
}

func (*Builder) Build(string, map[string]any, string) (Constructor, error) { return nil, errAbsent }

func (*Builder) BuildProvider(string, map[string]any) (provider.Provider, error) {
	return nil, errAbsent
}

func NewRegistryDownloader(RegistryDownloaderOptions) (any, error) { return nil, errAbsent }

func NewManager(any, ManagerOptions) (*Manager, error) { return nil, errAbsent }

func SetupRemotePlugins(*Manager, map[string]Descriptor) error { return errAbsent }

func SetupLocalPlugins(map[string]LocalDescriptor) error { return errAbsent }
