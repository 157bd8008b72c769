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
	schema := rulefile.Schema(APIVersion, Kind, rule, does)
	schema["$defs"] = map[string]any{"place": map[string]any{
		"type":    "string",
		"pattern": "^(response:)?(host|port|status|path:/.*|query:.+|header:[^ *:]+|form:.+|body(:[$/].*)?)$",
	}}
	return schema
}
