// Package k8sevents reads the events of a Kubernetes cluster as log records. It stands in for the receiver of the same name in
// otel/opentelemetry-collector-contrib, whose module is not published alone: the same settings, the same attributes.
package k8sevents

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
)

// Config is what a configuration says below `k8s_events`.
type Config struct {
	// AuthType is how the API server is told who asks; here it can only be the pod's own account.
	AuthType string `mapstructure:"auth_type"`
	// Namespaces are those whose events are read; all where none is named.
	Namespaces []string `mapstructure:"namespaces"`
}

// Validate is called by the collector before anything is started, and by `otelcol validate`.
func (config *Config) Validate() error {
	if config.AuthType != "serviceAccount" {
		return fmt.Errorf("auth_type %q: only serviceAccount is supported here", config.AuthType)
	}
	return nil
}

// NewFactory makes receivers of the type k8s_events.
func NewFactory() receiver.Factory {
	return receiver.NewFactory(
		component.MustNewType("k8s_events"),
		func() component.Config { return &Config{AuthType: "serviceAccount"} },
		receiver.WithLogs(create, component.StabilityLevelAlpha),
	)
}

func create(_ context.Context, settings receiver.Settings, config component.Config, next consumer.Logs) (receiver.Logs, error) {
	return &eventReceiver{config: config.(*Config), logger: settings.Logger, next: next}, nil
}
