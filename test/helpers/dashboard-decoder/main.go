// Decodes dashboards with Grafana's own types and prints what they do not take: unknown fields and wrong types, one to a line.
//
//	dashboard-decoder FILE…
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		if err != nil {
			fmt.Printf("%s: %v\n", file, err)
			continue
		}
		var decoded dashboard.Dashboard
		for _, problem := range problems(decoded.UnmarshalJSONStrict(text)) {
			// of a field that is missing the types do not say whether Grafana has a default for it
			if problem.Message != "required field is missing from input" {
				fmt.Printf("%s: %s: %s\n", file, problem.Path, problem.Message)
			}
		}
	}
}

func problems(err error) []*cog.BuildError {
	var several cog.BuildErrors
	var one *cog.BuildError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &several):
		return several
	case errors.As(err, &one):
		return []*cog.BuildError{one}
	}
	return []*cog.BuildError{{Path: "dashboard", Message: err.Error()}}
}
