package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/transformer"
)

// A test config is read when manifests are rendered, and its flags hours later, by a Job.
func TestTestConfigsSetFlagsThatThereAre(t *testing.T) {
	replay, mock := newReplayCommand().Flags(), newMockCommand().Flags()
	for _, f := range transformer.TestConfigFields() {
		for _, name := range f.Flags {
			if replay.Lookup(name) == nil {
				t.Errorf("%s: tapedeck replay has no flag --%s", f.Path, name)
			}
		}
		for _, name := range f.MockFlags {
			if mock.Lookup(name) == nil {
				t.Errorf("%s: tapedeck mock has no flag --%s", f.Path, name)
			}
		}
		if len(f.Flags)+len(f.MockFlags) == 0 {
			t.Errorf("%s sets no flag", f.Path)
		}
	}
	for _, c := range transformer.BuiltInConfigs() {
		if err := newReplayCommand().ParseFlags(slices.Clone(c.Flags)); err != nil {
			t.Errorf("%s: %q: %v", c.Name, strings.Join(c.Flags, " "), err)
		}
	}
}

func TestAnnotationsOfReplaysAreExplained(t *testing.T) {
	const want = "Annotation tapedeck.dev/replay-shards\n"
	if got := explain("replay-shards"); !strings.HasPrefix(got, want) || !slices.Contains(explainable(), "replay-shards") {
		t.Errorf("found %q, want %q", got, want)
	}
}
