package results

import _ "embed"

//go:embed schema/result.v1.schema.json
var jsonSchema string

// JSONSchema is the JSON Schema, draft 2020-12, of result.json. It is strict: what it does not name is refused.
func JSONSchema() []byte { return []byte(jsonSchema) }
