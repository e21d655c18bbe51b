package main

import (
	"fmt"

	"sigs.k8s.io/yaml"
)

// kind is what the page says about one CRD: its names, columns and the schema of its newest version.
type kind struct {
	Name, Plural, Group, Version string
	ShortNames                   []string
	Columns                      []column
	Schema                       schema
}

type column struct {
	Name        string `json:"name"`
	JSONPath    string `json:"jsonPath"`
	Description string `json:"description"`
	Priority    int    `json:"priority"`
}

// schema is the part of an OpenAPI v3 schema that controller-gen writes and a reader wants to see.
type schema struct {
	Type                 string            `json:"type"`
	Format               string            `json:"format"`
	Description          string            `json:"description"`
	Default              any               `json:"default"`
	Enum                 []any             `json:"enum"`
	Pattern              string            `json:"pattern"`
	Minimum              *float64          `json:"minimum"`
	Maximum              *float64          `json:"maximum"`
	MinLength            *int              `json:"minLength"`
	MaxLength            *int              `json:"maxLength"`
	MinItems             *int              `json:"minItems"`
	MaxItems             *int              `json:"maxItems"`
	MaxProperties        *int              `json:"maxProperties"`
	Required             []string          `json:"required"`
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	AdditionalProperties *schema           `json:"additionalProperties"`
	Rules                []rule            `json:"x-kubernetes-validations"`
	IntOrString          bool              `json:"x-kubernetes-int-or-string"`
}

type rule struct {
	Rule              string `json:"rule"`
	Message           string `json:"message"`
	MessageExpression string `json:"messageExpression"`
}

// parse reads one CRD; ok is false for a document of another kind, such as a kustomization.
func parse(raw []byte) (k kind, ok bool, err error) {
	var crd struct {
		Kind string `json:"kind"`
		Spec struct {
			Group string `json:"group"`
			Names struct {
				Kind       string   `json:"kind"`
				Plural     string   `json:"plural"`
				ShortNames []string `json:"shortNames"`
			} `json:"names"`
			Versions []struct {
				Name    string   `json:"name"`
				Storage bool     `json:"storage"`
				Columns []column `json:"additionalPrinterColumns"`
				Schema  struct {
					Root schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		return kind{}, false, fmt.Errorf("parse CRD: %w", err)
	}
	if crd.Kind != "CustomResourceDefinition" {
		return kind{}, false, nil
	}
	names := crd.Spec.Names
	for _, v := range crd.Spec.Versions {
		if v.Storage {
			return kind{
				Name: names.Kind, Plural: names.Plural, Group: crd.Spec.Group, Version: v.Name,
				ShortNames: names.ShortNames, Columns: v.Columns, Schema: v.Schema.Root,
			}, true, nil
		}
	}
	return kind{}, false, fmt.Errorf("%s has no storage version", names.Kind)
}
