package rules

import "github.com/tapedeck/tapedeck/internal/rulefile"

// Schema returns the JSON Schema of the file.
func Schema() map[string]any {
	text := map[string]any{"type": "string"}
	texts := map[string]any{"oneOf": []any{text, map[string]any{"type": "array", "items": text, "minItems": 1}}}
	rule := map[string]any{}
	var does []any
	for _, k := range keys {
		property := map[string]any{"description": k.Doc}
		of := texts
		switch {
		case k.Name == "name":
			of = text
		case k.Places:
			place := map[string]any{"$ref": "#/$defs/place"}
			of = map[string]any{"oneOf": []any{place, map[string]any{"type": "array", "items": place, "minItems": 1}}}
			does = append(does, map[string]any{"required": []any{k.Name}})
		}
		for name, v := range of {
			property[name] = v
		}
		rule[k.Name] = property
	}
	return map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                Kind,
		"type":                 "object",
		"additionalProperties": false,
		"required":             []any{"apiVersion", "kind", "rules"},
		"properties": map[string]any{
			"apiVersion": map[string]any{"const": APIVersion},
			"kind":       map[string]any{"const": Kind},
			"metadata":   map[string]any{"type": "object"},
			"rules": map[string]any{"type": "array", "maxItems": rulefile.MaxRules, "items": map[string]any{
				"type": "object", "additionalProperties": false, "properties": rule, "anyOf": does,
			}},
		},
		"$defs": map[string]any{"place": map[string]any{
			"type":    "string",
			"pattern": "^(response:)?(host|port|status|path:/.*|query:.+|header:[^ *:]+|form:.+|body(:[$/].*)?)$",
		}},
	}
}
