package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const tide = `
kind: CustomResourceDefinition
spec:
  group: sea.example
  names: {kind: Tide, plural: tides, shortNames: [td]}
  versions:
  - name: v1
    storage: true
    additionalPrinterColumns:
    - {name: Height, jsonPath: .status.height, type: string}
    - {name: Moon, jsonPath: .spec.moon, type: string, priority: 1}
    schema:
      openAPIV3Schema:
        description: "Tide is a level of the sea. It changes."
        x-kubernetes-validations:
        - {rule: "true", message: the moon must be up}
        properties:
          spec:
            required: [ports]
            properties:
              moon: {type: string, default: full, enum: [full, new], description: "moon | phase"}
              ports:
                type: array
                minItems: 1
                maxItems: 8
                items:
                  type: object
                  x-kubernetes-validations:
                  - {rule: "true", messageExpression: "'a port needs water'"}
                  properties:
                    depth: {type: integer, format: int32, minimum: 1, description: "depth in metres"}
              labels:
                type: object
                additionalProperties: {type: string, maxLength: 5}
          status:
            properties:
              height: {type: string, pattern: "^(a|b)$"}
`

// TestPage compares the whole page of one small kind: each construct that our CRDs use stands in it once.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"tide.yaml": tide, "kustomization.yaml": "kind: Kustomization\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page, err := build(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := head + `- [Tide](#tide): Tide is a level of the sea.

## Tide

Tide is a level of the sea. It changes.

` + "`apiVersion: sea.example/v1`, `kind: Tide`; for kubectl `tides.sea.example`, `td`." + `

` + "| Column of `kubectl get` | Shows | Meaning |" + `
| --- | --- | --- |
` + "| Height | `.status.height` |  |" + `
` + "| Moon (with `-o wide`) | `.spec.moon` |  |" + `

### Tide spec

| Field | Type | Limits | Meaning |
| --- | --- | --- | --- |
` + "| `labels` | map of string |  |  |" + `
` + "| `moon` | string | default `\"full\"`, one of `full`, `new` | moon \\| phase |" + `
` + "| `ports` | list of object | required, 1 to 8 entries |  |" + `
` + "| `ports[].depth` | integer (int32) | at least 1 | depth in metres |" + `

### Tide status

| Field | Type | Limits | Meaning |
| --- | --- | --- | --- |
` + "| `height` | string | matches `^(a\\|b)$` |  |" + `

### Tide rules between fields

- the object: the moon must be up
` + "- `spec.ports[]`: a port needs water" + `
`
	if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

func TestBuildRefuses(t *testing.T) {
	tests := map[string]struct {
		reason, text, wantError string
	}{
		"no CRD": {
			reason: "an empty page would hide that the CRDs went missing",
			text:   "kind: Kustomization\n", wantError: "no CRD in",
		},
		"no storage version": {
			reason: "without one there is no schema to describe",
			text:   "kind: CustomResourceDefinition\nspec: {names: {kind: Tide}}\n", wantError: "Tide has no storage version",
		},
		"broken YAML": {
			reason: "the file is named, so that it can be mended",
			text:   "kind: [", wantError: "crd.yaml",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "crd.yaml"), []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := build(dir)
			if err == nil || !strings.Contains(err.Error(), tc.wantError) {
				t.Errorf("error %v, want one with %q: %s", err, tc.wantError, tc.reason)
			}
		})
	}
}
