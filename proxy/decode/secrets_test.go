package decode

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/decode/secrettest"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// TestNoSecretIsWritten records traffic with a secret in each of the places, and searches the
// files for it.
func TestNoSecretIsWritten(t *testing.T) {
	places := secrettest.Places(t)
	if len(places) < 200 {
		t.Errorf("%d places, want at least 200", len(places))
	}
	for n, place := range places {
		t.Run(fmt.Sprintf("%d %s", n, place.Where), func(t *testing.T) {
			t.Parallel()
			conversations := place.Conversations(t, secrettest.Secret(n))
			dir := t.TempDir()
			r, err := spool.Open(dir, spool.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range conversations {
				reader := New(Config{}, r).Open(typicalFlow())
				for _, said := range c {
					reader.Data(said.Side, epoch, said.Data)
				}
				reader.Close(epoch)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			written := secrettest.Written(t, dir)
			if records := bytes.Count(written, []byte(`{"msgType":"rrpair"`)); records < len(conversations) {
				t.Errorf("%d records of %d conversations: %s", records, len(conversations), written)
			}
			if found := secrettest.Found(written); len(found) > 0 {
				t.Errorf("%s\nis written: %q", place.What, found)
			}
		})
	}
}

// The search would find the secrets: without redaction, each of them is written.
func TestSecretsAreWrittenWithoutRedaction(t *testing.T) {
	for n, place := range secrettest.Places(t) {
		limits := framework.DefaultLimits()
		limits.Opaque = true
		sink := new(memory)
		for _, c := range place.Conversations(t, secrettest.Secret(n)) {
			reader := New(Config{Limits: limits}, sink).Open(typicalFlow())
			for _, said := range c {
				reader.Data(said.Side, epoch, said.Data)
			}
			reader.Close(epoch)
		}
		if silent := place.Where == "stream" && strings.Contains(place.What, "PROXY"); len(secrettest.Found(bytes.Join(sink.lines, []byte("\n")))) == 0 && !silent {
			t.Errorf("%s: %s: the test can't find the secret in what is written", place.Where, place.What)
		}
	}
}
