package redact

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the table in docs")

const page = "../../docs/recording-format.md"

// TestRedactedTable checks the page's table of words against the one in the code.
func TestRedactedTable(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- redacted -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- /redacted -->")
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of the table", page)
	}
	want := before + "<!-- redacted -->\n" + redactTable() + "<!-- /redacted -->" + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s is out of date; go test ./recording/redact -update rewrites it\ncode (-) page (+):\n%s", page, diff)
	}
}

func redactTable() string {
	what := map[form]string{
		plain:     "exception: none of it is secret for this name",
		scrambled: "the value, if it looks random and is no UUID",
		random:    "the value, if it looks random or begins with `Bearer` or the like",
		oneTime:   "the value, if it looks random, or has six digits and stands in a request",
		whole:     "the value",
		scheme:    "what follows a known authentication scheme; all, if there is none",
		challenge: "what follows the scheme, if that is no list of parameters",
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
