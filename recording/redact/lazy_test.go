package redact

import (
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// A lazy sink redacts the same secrets, with the same tokens.
func TestALazySinkRedactsAsNewDoes(t *testing.T) {
	o := Options{Key: []byte("a key for tests"), Names: []string{"own"}}
	var eager, late written
	for _, uri := range []string{"/a", "/b?token=hush", "/c?own=hush", "/d?token=hush"} {
		for _, s := range []recording.Sink{New(&eager, o), NewLazy(&late, o)} {
			if err := s.Write(&recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: uri}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, want := range eager.uris {
		if got := late.uris[i]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := late.uris[1]; got == "/b?token=hush" {
		t.Error("nothing is redacted")
	}
}

// A lazy sink that gets no exchange costs next to nothing.
func TestALazySinkMakesNoTableBeforeAnExchangeComes(t *testing.T) {
	allocs := testing.AllocsPerRun(10, func() {
		s := NewLazy(recording.Discard{}, Options{})
		_, _ = s.Flush(t.Context()), s.Close(t.Context())
	})
	if allocs > 20 {
		t.Errorf("%v allocations", allocs)
	}
	if eager := testing.AllocsPerRun(10, func() { New(recording.Discard{}, Options{}) }); eager < 10*allocs {
		t.Errorf("New makes %v allocations, too few for a comparison", eager)
	}
}
