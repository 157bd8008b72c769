package convert_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Every RRPair is read without losses.
func TestRRPairsLoad(t *testing.T) {
	inEach(t, rrpairsLoad)
}

func rrpairsLoad(t *testing.T, c collection) {
	got, report := c.read(t, "rrpair")
	root := filepath.Join(c.root, "rrpair")
	names, _ := filepath.Glob(filepath.Join(root, "*", "[^.]*.*"))
	others := slices.DeleteFunc(report.Findings(), func(f read.Finding) bool { return f.Kind == read.Lossy }) // see TestFilesOfOtherTools
	if len(got) != len(names) || report.Err() != nil || len(others) > 0 {
		t.Fatalf("%d exchanges of %d files; %v", len(got), len(names), report.Findings())
	}
	for i, rec := range got {
		if i > 0 && rec.TS.Before(got[i-1].TS) {
			t.Errorf("%s comes after a later one", rec.Key)
		}
		text, err := os.ReadFile(filepath.Join(root, rec.Key))
		if err != nil {
			t.Fatal(err)
		}
		if md := regexp.MustCompile(`(?m)^json: (.*)$`).FindSubmatch(text); md != nil {
			text = md[1]
		}
		for _, lost := range missing(t, text, rec.Exchange.AppendJSON(nil)) {
			t.Errorf("%s: %s is lost", rec.Key, lost)
		}
		var again recording.Exchange
		var d recording.Decoder
		if err := d.Decode(rec.Exchange.AppendJSON(nil), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rec.Exchange, &again, cmp.AllowUnexported(recording.NetInfo{})); diff != "" {
			t.Errorf("%s: read (-), written and read (+):\n%s", rec.Key, diff)
		}
		if rec.UUID == (recording.UUID{}) || rec.TS.IsZero() || rec.Direction == "" {
			t.Errorf("%s: %s %s %s", rec.Key, rec.UUID, rec.TS, rec.Direction)
		}
		for _, h := range []recording.Half{rec.Request(), rec.Response()} {
			if _, err := h.Decode(nil, nil, 1<<20); err != nil {
				t.Errorf("%s: %v", rec.Key, err)
			}
		}
	}
}

// missing names the members of one JSON value that another doesn't have, or has with a different
// value. Null may be missing, and the text of a body if both have the same base64 of it.
func missing(t *testing.T, of, in []byte) []string {
	t.Helper()
	var a, b any
	for text, to := range map[*any][]byte{&a: of, &b: in} {
		d := json.NewDecoder(bytes.NewReader(to))
		d.UseNumber()
		if err := d.Decode(text); err != nil {
			t.Fatal(err)
		}
	}
	var lost []string
	var walk func(path string, a, b any)
	walk = func(path string, a, b any) {
		switch v := a.(type) {
		case map[string]any:
			other, _ := b.(map[string]any)
			for name, value := range v {
				if name == "body" && other["bodyBase64"] == v["bodyBase64"] && other["bodyBase64"] != nil {
					continue
				}
				walk(path+"."+name, value, other[name])
			}
		case []any:
			other, _ := b.([]any)
			if len(v) != len(other) {
				lost = append(lost, path)
				return
			}
			for i := range v {
				walk(path+"[]", v[i], other[i])
			}
		default:
			if a != b && a != nil && !sameTime(a, b) {
				lost = append(lost, path)
			}
		}
	}
	walk("", a, b)
	return lost
}

func sameTime(a, b any) bool {
	x, _ := a.(string)
	y, _ := b.(string)
	trim := func(s string) string { return strings.TrimRight(strings.TrimSuffix(s, "Z"), "0") }
	return strings.Contains(x, "T") && strings.HasSuffix(x, "Z") && trim(x) == trim(y)
}
