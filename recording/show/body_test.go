package show_test

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/show"
)

// answer returns an exchange of which only the answer's body matters.
func answer(body []byte, headers ...recording.Header) *recording.Exchange {
	return &recording.Exchange{HTTP: &recording.HTTP{Res: recording.HTTPResponse{StatusCode: 200, Headers: headers, Body: body}}}
}

func zip(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

func TestShownBodiesAreBounded(t *testing.T) {
	const limit = 1 << 20
	for _, c := range []struct {
		name, coding string
		body         []byte
		decoded      int64
		more         bool
		note         string
	}{
		{"a bomb", "gzip", zip(strings.Repeat("\x00", 4*limit)), limit, true, ""},
		{"large", "", make([]byte, 2*limit), 2 * limit, true, ""},
		{"large, in an unknown coding", "compress", make([]byte, 2*limit), 2 * limit, true, "decode compress: content coding"},
		{"cut", "gzip", zip("hello")[:20], 5, false, "decode gzip: unexpected EOF"},
		{"not gzip", "gzip", []byte("\x1f\x8b\x00"), 3, false, "decode gzip: "},
		{"decoded already", "gzip", []byte("hello"), 5, false, ""},
	} {
		b := show.New(answer(c.body, recording.Header{Name: "Content-Encoding", Value: c.coding}), show.Options{}).Response.Body
		notes := strings.Join(b.Notes, "\n")
		if b.Decoded != c.decoded || (b.More > 0 || b.Unknown) != c.more || len(b.Text) > 5*limit || (notes == "") != (c.note == "") || !strings.Contains(notes, c.note) {
			t.Errorf("%s: %d bytes decoded, %d more (%v), notes %q", c.name, b.Decoded, b.More, b.Unknown, notes)
		}
	}
}
