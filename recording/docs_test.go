package recording

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

var update = flag.Bool("update", false, "rewrite the tables in docs")

const page = "../docs/recording-format.md"

// TestFormatPage checks the tables of the page against the structs, their
// comments, and the tables in the code.
func TestFormatPage(t *testing.T) {
	docpage.Tables(t, page, *update, map[string]string{
		"fields": docpage.Structs(t, "exchange.go", map[string]string{
			"Exchange": "", "HTTP": "`http`", "HTTPRequest": "`http.req`", "HTTPResponse": "`http.res`", "Conversation": "`grpc`, `websocket`, `tcp`",
			"Message": "`messages[]` of a conversation", "NetInfo": "`netinfo`", "Endpoint": "`netinfo.downstream`, `netinfo.upstream`",
		}),
		"counters": docpage.Structs(t, "counters.go", map[string]string{"Counters": ""}),
		"tags":     tagTable(),
	})
}

func tagTable() string {
	var out strings.Builder
	out.WriteString("| tag | meaning |\n|---|---|\n")
	for _, tag := range TagDocs() {
		fmt.Fprintf(&out, "| `%s` | %s |\n", tag.Name, tag.Doc)
	}
	return out.String()
}
