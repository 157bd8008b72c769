package match_test

import (
	"testing"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
)

func TestFragmentsAndPingsOfAWebSocketMakeNoDifference(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	conversation := func(frames ...recording.Message) *recording.Exchange {
		return &recording.Exchange{
			HTTP:      &recording.HTTP{Req: recording.HTTPRequest{Method: "GET", URL: "/talk"}, Res: recording.HTTPResponse{StatusCode: 101}},
			WebSocket: &recording.Conversation{Part: 1, Last: true, Messages: frames},
		}
	}
	frame := func(kind string, more bool, data string) recording.Message {
		return recording.Message{From: recording.Server, Type: kind, More: more, Data: []byte(data)}
	}
	recorded := conversation(frame("text", true, `{"a":`), frame("ping", false, ""), frame("continuation", false, `1}`))
	if d := m.Diff(recorded, conversation(frame("text", false, `{"a":1}`)), false); len(d.List) > 0 {
		t.Errorf("got differences %v", d.List)
	}
	d := m.Diff(recorded, conversation(frame("text", false, `{"a":2}`)), false)
	if len(d.List) != 1 {
		t.Errorf("a changed message is %d differences: %v", len(d.List), d.List)
	}
}
