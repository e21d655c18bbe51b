// Package crd holds the generated CustomResourceDefinitions of Assay, so that a binary can install its own API.
package crd

import (
	"embed"
	"fmt"
	"io/fs"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

//go:embed *.yaml
var files embed.FS

// Files returns the definitions as YAML, one object a file, in the root of the file system.
func Files() fs.FS { return files }

// All returns the definitions in the order of their file names. Each call returns objects of its own.
func All() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	all := make([]*apiextensionsv1.CustomResourceDefinition, 0, len(entries))
	for _, entry := range entries {
		text, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			return nil, fmt.Errorf("config/crd/%s: %w; run make generate", entry.Name(), err)
		}
		all = append(all, crd)
	}
	return all, nil
}
