package carry

import (
	"encoding/json"
	"flag"
	"testing"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

var update = flag.Bool("update", false, "rewrite the schema in docs")

// TestSchema checks the schema of rules in docs against the table of keys.
func TestSchema(t *testing.T) {
	s, err := json.MarshalIndent(Schema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	docpage.Is(t, "../../docs/carry-rules.schema.json", *update, string(s)+"\n")
}
