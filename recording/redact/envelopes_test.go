package redact

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// Messages in a stream keep their order, and their length fields fit the redacted messages.
func TestEnvelopes(t *testing.T) {
	const first, second = "\x00\x00\x00\x00\x0a{\"a\":\"bc\"}", "\x00\x00\x00\x00\x13{\"password\":\"hush\"}"
	const redacted = "\x00\x00\x00\x00\x28{\"password\":\"R\"}"
	for _, c := range []struct{ body, want string }{
		{first, first},
		{first + second + first, first + redacted + first},
		{second + second[:len(second)-3], redacted + "\x00\x00\x00\x00\x26{\"password\":\"R"}, // the second message is cut
		{first + "\x01\x00\x00\x00\x03\x1f\x8b\x08" + first, first + "\x01\x00\x00\x00\x00" + first},
		{"\x02\xff\xff\xff\xff{\"password\":\"hush\"}", "\x02\x00\x00\x00\x28{\"password\":\"R\"}"},
		{first + "\x00\x00", first + "\x00\x00"},
	} {
		if got, _ := redactDocument("application/connect+json", c.body); got != c.want {
			t.Errorf("%q\nbecame %q\nwant   %q", c.body, got, c.want)
		}
	}
	e := &recording.Exchange{HTTP: &recording.HTTP{Res: recording.HTTPResponse{ContentType: "application/grpc-web+json", Body: []byte("\x01\x00\x00\x00\x03\x1f\x8b\x08")}}}
	New(recording.Discard{}, Options{}).Write(e)
	if e.Tags.Get(recording.TagTruncated) != "true" || strings.Contains(string(e.HTTP.Res.Body), "\x1f") {
		t.Errorf("%q %v", e.HTTP.Res.Body, e.Tags)
	}
}
