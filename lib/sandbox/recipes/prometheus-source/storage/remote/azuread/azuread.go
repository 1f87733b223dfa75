// Package azuread knows no logins: Azure's client is left out of this build of the collector.
package azuread

import (
	"errors"
	"net/http"
)

// AzureADConfig is what a configuration with a login would hold.
type AzureADConfig struct{}

// NewAzureADRoundTripper refuses every configuration.
func NewAzureADRoundTripper(*AzureADConfig, http.RoundTripper) (http.RoundTripper, error) {
	return nil, errors.New("azuread is not part of this build")
}
