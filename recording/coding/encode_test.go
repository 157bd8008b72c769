package coding

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestWhatIsAppliedIsUndone(t *testing.T) {
	body := []byte(strings.Repeat("hello ", 100))
	for _, list := range []string{"", "gzip", "deflate", "br", "zstd", "br, gzip"} {
		codings := Split(list)
		coded, err := Append([]byte("before"), codings, body)
		if err != nil {
			t.Fatal(list, err)
		}
		coded, ok := bytes.CutPrefix(coded, []byte("before"))
		if !ok || list != "" && len(coded) >= len(body) {
			t.Errorf("%q: %d bytes became %d", list, len(body), len(coded))
		}
		var d Decoder
		got, err := d.Decode(nil, codings, coded, 1<<20)
		d.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%q: %d bytes, %v", list, len(got), err)
		}
		again, err := Append(nil, codings, body)
		if err != nil || !bytes.Equal(again, coded) {
			t.Errorf("%q: the same body became different bytes", list)
		}
	}
	var unknown *UnknownError
	if _, err := Append(nil, []string{"own"}, body); !errors.As(err, &unknown) {
		t.Errorf("an unknown coding: %v", err)
	}
	if _, err := Append(nil, []string{"br", "br", "br", "br", "br"}, body); err == nil {
		t.Error("too many codings are applied")
	}
}
