package snapshot

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording/store"
)

func TestParseManifestRefusesContradictions(t *testing.T) {
	s := store.Dir(t.TempDir())
	_, m := create(t, s, some(3), Options{})
	good, _, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseManifest(good); err != nil {
		t.Fatal(err)
	}
	last := m.Files[len(m.Files)-1]
	for name, c := range map[string]struct {
		change func(m *Manifest)
		want   string
	}{
		"another format":       {func(m *Manifest) { m.Format = 2 }, "this version of tapedeck reads format 1"},
		"no id":                {func(m *Manifest) { m.ID = "" }, "want a UUID"},
		"a pin for an id":      {func(m *Manifest) { m.ID += "@sha256:" + last.SHA256 }, "want a UUID"},
		"a path for an id":     {func(m *Manifest) { m.ID = "/a/snapshots/" + m.ID }, "want a UUID"},
		"a file twice":         {func(m *Manifest) { m.Files = append(m.Files, last) }, "twice, or not in order"},
		"a file above":         {func(m *Manifest) { m.Files[0].Key = "../x" }, "dot"},
		"an absolute file":     {func(m *Manifest) { m.Files[0].Key = "/x" }, "empty element"},
		"the manifest":         {func(m *Manifest) { m.Files = append(m.Files, last); m.Files[len(m.Files)-1].Key = ManifestName }, "the manifest itself"},
		"no hash":              {func(m *Manifest) { m.Files[0].SHA256 = "" }, "want 64 hexadecimal digits"},
		"a hash in capitals":   {func(m *Manifest) { m.Files[0].SHA256 = strings.Repeat("A", 64) }, "want 64 hexadecimal digits"},
		"a negative size":      {func(m *Manifest) { m.Files[0].Bytes = -1 }, "-1 bytes"},
		"an enormous size":     {func(m *Manifest) { m.Files[0].Bytes = 1 << 50 }, "at most"},
		"too many exchanges":   {func(m *Manifest) { m.Exchanges++ }, "4 exchanges in all, and 3 in its files"},
		"a negative number":    {func(m *Manifest) { m.Files[0].Exchanges = -1 }, "-1 exchanges"},
		"a number that is too": {func(m *Manifest) { m.Files[0].Exchanges = 1<<63 - 1 }, "more exchanges than can be counted"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := *m
			changed.Files = slices.Clone(m.Files)
			c.change(&changed)
			text, _, err := changed.encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseManifest(text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

func FuzzParseManifest(f *testing.F) {
	s := store.Dir(f.TempDir())
	_, m := create(f, s, some(3), Options{})
	text, _, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format":1,"id":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","files":[{"key":"a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err != nil {
			return
		}
		for _, f := range m.Files {
			if err := store.CheckKey(f.Key); err != nil {
				t.Error(err)
			}
		}
		again, _, err := m.encode()
		if err != nil {
			return // JSON can't represent this time
		}
		if got, err := ParseManifest(again); err != nil || !cmp.Equal(m, got) {
			t.Errorf("%v: %s", err, cmp.Diff(m, got))
		}
	})
}
