package carry

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// Binary metadata of a gRPC call is redacted as a whole, so it is a need. A setting supplies it as
// it is sent: in base64.
func TestBinaryMetadataIsANeed(t *testing.T) {
	called := func() *recording.Exchange {
		e := useOf(0, "/shop.Orders/Place", "X-Caller-Bin", "AAECAwQFBgcICQ==")
		e.L7Protocol, e.GRPC = recording.GRPC, &recording.Conversation{Part: 1, Last: true}
		if err := redact.New(nowhere{}, redact.Options{Key: []byte("the key of the recording")}).Write(e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	recorded := called()
	f := NewFinder(Options{})
	f.Add(recorded)
	g := f.Finish()
	want := []Need{{Endpoint: "GET /shop.Orders/Place", Place: "req.header.X-Caller-Bin", Token: recorded.HTTP.Req.Headers.Get("X-Caller-Bin"), Steps: []int{0}}}
	if diff := cmp.Diff(want, g.Needs()); diff != "" || !redact.IsToken(want[0].Token) {
		t.Fatalf("needs (-want +got):\n%s", diff)
	}
	set, err := ParseSetting("header.X-Caller-Bin=CQgHBgUEAwIBAA==", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := g.NewState(StateOptions{Set: []Setting{set}})
	s.Apply(0, recorded)
	if got := recorded.HTTP.Req.Headers.Get("X-Caller-Bin"); got != "CQgHBgUEAwIBAA==" || len(g.Missing([]Setting{set})) > 0 {
		t.Errorf("%s is sent", got)
	}
}

type nowhere struct{ recording.Sink }

func (nowhere) Write(*recording.Exchange) error { return nil }
