package fn_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/fn"
)

// TestReplaysComeAndGo edits rendered manifests, such as those in git. A second render gives the
// same as a render of the edited source: a new build replaces the objects of the former one, and a
// replay that is no longer requested leaves nothing behind.
func TestReplaysComeAndGo(t *testing.T) {
	cfg := copyConfig(t)
	render := func(t *testing.T, input []byte) []byte {
		t.Helper()
		out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
		if err != nil || results.Failed() {
			t.Fatalf("render: %v %+v", err, results)
		}
		return out
	}
	replace := func(old, fresh string) func([]byte) []byte {
		return func(text []byte) []byte { return bytes.Replace(text, []byte(old), []byte(fresh), 1) }
	}
	const asks = "    replay.speedscale.com/snapshot-id: 0192e4a0-7f3c-7d2e-9b1a-6f4f5a3c2b1d@sha256:6f4f5a3c2b1d0192e4a07f3c7d2e9b1a6f4f5a3c2b1d0192e4a07f3c7d2e9b1a\n"
	inPlace := "tapedeck.dev/replay: in-place"
	for name, tt := range map[string]struct {
		how  string
		edit func([]byte) []byte
		gone bool // no object of a replay is left
	}{
		"a new build":                       {"", replace("shop:1", "shop:2"), false},
		"a new build in place":              {inPlace, replace("shop:1", "shop:2"), false},
		"another setting":                   {"", replace(asks, asks+"    replay.speedscale.com/timeout: 5m\n"), false},
		"another snapshot":                  {"", replace("@sha256:6f4f", "@sha256:7f4f"), false},
		"a copy from now on":                {inPlace, replace("    "+inPlace+"\n", ""), false},
		"in place from now on":              {"", replace(asks, asks+"    "+inPlace+"\n"), false},
		"no replay":                         {"", replace(asks, ""), true},
		"no replay in place":                {inPlace, func(text []byte) []byte { return replace(asks, "")(replace("    "+inPlace+"\n", "")(text)) }, true},
		"neither a replay nor the sidecar":  {"", func(text []byte) []byte { return replace(`inject: "true"`, `inject: "false"`)(replace(asks, "")(text)) }, true},
		"the copy without its own sidecar":  {"", replace(`inject: "true"`, `inject: "false"`), false},
		"only the generator from now on":    {"", replace(asks, asks+"    replay.speedscale.com/mode: generator-only\n"), false},
		"a comment, which is no new replay": {"", replace("args: [", "# why\n        args: ["), false},
	} {
		t.Run(name, func(t *testing.T) {
			source := replayInput(tt.how, "", "")
			once := render(t, source)
			want := render(t, tt.edit(source))
			if diff := cmp.Diff(facts(t, want), facts(t, render(t, tt.edit(once)))); diff != "" {
				t.Errorf("on top of what was rendered (-want +got):\n%s", diff)
			}
			if left := bytes.Contains(want, []byte("tapedeck.dev/replay:")) || bytes.Contains(want, []byte("tapedeck.dev/replay-part")); left == tt.gone {
				t.Errorf("there are objects of a replay: %t, want %t\n%s", left, !tt.gone, want)
			}
			for _, never := range []string{"generateName", "ttlSecondsAfterFinished"} {
				if bytes.Contains(want, []byte(never)) {
					t.Errorf("it has %s:\n%s", never, want)
				}
			}
		})
	}
}
