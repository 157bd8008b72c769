package redact

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

var update = flag.Bool("update", false, "rewrite the table in docs")

const page = "../../docs/recording-format.md"

// TestRedactedTable checks the page's table of words against the table in the code.
func TestRedactedTable(t *testing.T) {
	docpage.Tables(t, page, *update, map[string]string{"redacted": redactTable()})
}

func redactTable() string {
	what := map[form]string{
		plain:     "exception: none of it is secret for this name",
		scrambled: "the value, if it looks random and is not a UUID",
		random:    "the value, if it looks random or begins with `Bearer` or the like",
		mixed:     "the value, if it looks random, or has twelve characters or more, with letters and digits among them",
		oneTime:   "the value, if it looks random, or has six digits and stands in a request",
		whole:     "the value",
		scheme:    "what follows a known authentication scheme; all, if there is none",
		challenge: "what follows the scheme, if that is not a list of parameters",
		cookies:   "the value of each cookie",
		setCookie: "the cookie's value, not its attributes",
		protocols: "what follows `" + bearerProtocol + "` or an announcement such as `access_token`, and what is too long for a name",
		link:      "user information, and what is secret in a URL",
	}
	where := map[place]string{inHeader: "header", inParameter: "parameter", inBody: "body", anyField: "header, parameter", inHeader | inBody: "header, body", anyName: "header, parameter, body", inPath: "segment of a path (what follows it)"}
	at := map[position]string{anywhere: "contains", atEnd: "ends in", alone: "is"}
	var out strings.Builder
	for _, row := range words {
		var names []string
		for _, name := range slices.Sorted(slices.Values(strings.Fields(row.list))) {
			names = append(names, "`"+name+"`")
		}
		secret := what[row.form]
		if row.numbers {
			secret += ", numbers of three digits or more included"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", where[row.in], at[row.at], strings.Join(names, ", "), secret)
	}
	return out.String()
}
