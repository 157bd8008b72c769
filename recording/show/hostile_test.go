package show_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/show"
)

func header(name, value string) recording.Header { return recording.Header{Name: name, Value: value} }

// hostile are exchanges of about n bytes that are as costly as possible.
var hostile = map[string]func(n int) *recording.Exchange{
	"brackets": func(n int) *recording.Exchange { return answer([]byte(strings.Repeat("[", n))) },
	"JSON deep": func(n int) *recording.Exchange {
		return answer([]byte(strings.Repeat("[", 100) + strings.Repeat("1,", n/2) + "1" + strings.Repeat("]", 100)))
	},
	"JSON of invisible characters": func(n int) *recording.Exchange {
		return answer([]byte(`["` + strings.Repeat("\u202e", n/3) + `"]`))
	},
	"XML deep": func(n int) *recording.Exchange {
		return answer([]byte(strings.Repeat("<a>", n/3)), header("Content-Type", "text/xml"))
	},
	"XML wide": func(n int) *recording.Exchange {
		return answer([]byte("<a>"+strings.Repeat("<b/>", n/4)+"</a>"), header("Content-Type", "text/xml"))
	},
	"XML, a tag": func(n int) *recording.Exchange {
		return answer([]byte("<a "+strings.Repeat("b", n/2)+">t"+strings.Repeat("<b/>", n/8)+"</a>"), header("Content-Type", "text/xml"))
	},
	"XML, quotes": func(n int) *recording.Exchange {
		return answer([]byte("<a>"+strings.Repeat(`<b c="`, n/6)), header("Content-Type", "text/xml"))
	},
	"a form": func(n int) *recording.Exchange {
		return answer([]byte(strings.Repeat("a&", n/2)), header("Content-Type", "application/x-www-form-urlencoded"))
	},
	"parts": func(n int) *recording.Exchange {
		return answer([]byte(strings.Repeat("--b\r\n\r\n", n/7)), header("Content-Type", "multipart/mixed; boundary=b"))
	},
	"a part's head": func(n int) *recording.Exchange {
		return answer([]byte("--b\nA: b\n"+strings.Repeat(" a\n", n/3)), header("Content-Type", "multipart/mixed; boundary=b"))
	},
	"boundaries": func(n int) *recording.Exchange {
		return answer([]byte("--b\n\n"+strings.Repeat("\n--bb", n/5)), header("Content-Type", "multipart/mixed; boundary=b"))
	},
	"events": func(n int) *recording.Exchange {
		return answer([]byte(strings.Repeat("id\n\n", n/4)), header("Content-Type", "text/event-stream"))
	},
	"an event": func(n int) *recording.Exchange {
		return answer([]byte(strings.Repeat(":\n", n/2)), header("Content-Type", "text/event-stream"))
	},
	"lines of data": func(n int) *recording.Exchange {
		return answer([]byte(strings.Repeat("data\n", n/5)), header("Content-Type", "text/event-stream"))
	},
	"messages in a body": func(n int) *recording.Exchange {
		return answer(make([]byte, n/5*5), header("Content-Type", "application/grpc-web"))
	},
	"packed messages in a body": func(n int) *recording.Exchange {
		one := zip(strings.Repeat("\x00", 1<<20))
		one = append([]byte{1, 0, 0, byte(len(one) >> 8), byte(len(one))}, one...)
		return answer(bytes.Repeat(one, n/len(one)+1), header("Content-Type", "application/grpc"), header("Grpc-Encoding", "gzip"))
	},
	"protobuf deep": func(n int) *recording.Exchange {
		var b []byte
		for len(b) < n {
			size := []byte{}
			for rest := len(b); ; rest >>= 7 {
				if rest < 0x80 {
					size = append(size, byte(rest))
					break
				}
				size = append(size, byte(rest)|0x80)
			}
			if b = append(append([]byte{0x0a}, size...), b...); len(b) > 1000 {
				break
			}
		}
		one := append([]byte{0x12, byte(len(b)&0x7f | 0x80), byte(len(b) >> 7)}, b...)
		return answer(bytes.Repeat(one, n/len(one)), header("Content-Type", "application/protobuf"))
	},
	"GraphQL": func(n int) *recording.Exchange {
		return answer([]byte("["+strings.Repeat(`{"query":"{a}"},`, n/17)+`{"query":"{a}"}]`), header("Content-Type", "application/json"))
	},
	"text of invisible characters": func(n int) *recording.Exchange { return answer([]byte(strings.Repeat("a\u202e", n/4))) },
	"tabs":                         func(n int) *recording.Exchange { return answer([]byte("a" + strings.Repeat("\t", n))) },
	"lines":                        func(n int) *recording.Exchange { return answer([]byte(strings.Repeat("\n", n))) },
	"a bomb": func(n int) *recording.Exchange {
		return answer(zip(strings.Repeat("[", 30*n)), header("Content-Encoding", "gzip"))
	},
	"a header": func(n int) *recording.Exchange { return answer(nil, header("A", strings.Repeat("\x00", n))) },
	"headers": func(n int) *recording.Exchange {
		e := answer(nil)
		for i := range n / 10 {
			e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, header(fmt.Sprint("A", i), ""))
		}
		return e
	},
	"tags": func(n int) *recording.Exchange {
		e := answer(nil)
		for i := range recording.MaxTags {
			e.Tags.Set(fmt.Sprint("a", i), strings.Repeat("b", n/recording.MaxTags*20))
		}
		return e
	},
	"places that were redacted": func(n int) *recording.Exchange {
		e := answer(nil)
		e.Tags.Set(recording.TagRedacted, strings.Repeat("res.header.a,", n/13)+"res.header.b")
		for range 1000 {
			e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, header("C", ""))
		}
		return e
	},
	"members of GraphQL": func(n int) *recording.Exchange {
		one := `{"query":"{a}"` + strings.Repeat(`,"a":1`, 900) + `}`
		return answer([]byte("["+strings.Repeat(one+",", n/len(one))+one+"]"), header("Content-Type", "application/json"))
	},
	"a query": func(n int) *recording.Exchange {
		e := answer(nil)
		e.HTTP.Req = recording.HTTPRequest{Method: "GET", URI: "/?" + strings.Repeat("%00&", n/4)}
		return e
	},
	"pieces": func(n int) *recording.Exchange {
		return &recording.Exchange{TCP: &recording.Conversation{Messages: make([]recording.Message, n/10)}}
	},
	"fragments": func(n int) *recording.Exchange {
		all := []recording.Message{{Type: "text", More: true}}
		for range n / 10 {
			all = append(all, recording.Message{Type: "continuation", More: true, Data: []byte("[")})
		}
		return &recording.Exchange{WebSocket: &recording.Conversation{Messages: append(all, recording.Message{Type: "continuation"})}}
	},
	"packed frames": func(n int) *recording.Exchange {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 9)
		_, _ = w.Write(make([]byte, 1<<20))
		_ = w.Flush()
		one := recording.Message{Type: "text", Compressed: true, Data: bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))}
		e := &recording.Exchange{WebSocket: new(recording.Conversation)}
		for range n/len(one.Data) + 1 {
			e.WebSocket.Messages = append(e.WebSocket.Messages, one)
		}
		return e
	},
}

// cost returns the processor time for the model of an exchange and its first messages.
func cost(t *testing.T, e *recording.Exchange) time.Duration {
	t.Helper()
	begin := cpu(t)
	if x := show.New(e, show.Options{}); x.Conversation != nil {
		x.Conversation.Messages(0, 100)
	}
	return cpu(t) - begin
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// The text of any exchange is bounded, and its cost grows no faster than the exchange.
func TestHostileExchanges(t *testing.T) {
	const small, times = 64 << 10, 16
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) {
			few, many := make(small), make(times*small)
			linear := false
			for range 5 { // 16 times as much should cost 16 times as much; with a quadratic cost, it would be 256 times
				short, long := max(cost(t, few), 200*time.Microsecond), cost(t, many)
				if linear = long <= times*times/2*short; linear {
					break
				}
				t.Logf("%v for %d bytes, %v for %d", short, small, long, times*small)
			}
			if !linear {
				t.Error("the cost grows faster than the exchange")
			}
			x := show.New(many, show.Options{})
			if x.Conversation != nil && x.Conversation.Total > 1000 { // Write shows all messages, which only the recording limits
				return
			}
			var text counter
			if err := x.Write(&text); err != nil {
				t.Fatal(err)
			}
			if most := counter(10 << 20); text > most {
				t.Errorf("%d bytes of text, want %d at most", text, most)
			}
		})
	}
}

// A stream of very many events is listed up to a limit, with a note.
func TestEventsAreBounded(t *testing.T) {
	const most = 1 << 20
	talk := show.New(answer([]byte(strings.Repeat("data\n\n", most+1)), header("Content-Type", "text/event-stream")), show.Options{}).Conversation
	if talk.Total != most || !slices.Contains(talk.Notes, "events after the first 1048576 are left out") {
		t.Errorf("%d events, %q", talk.Total, talk.Notes)
	}
}

// A conversation of any length is shown page by page.
func TestPages(t *testing.T) {
	c := &recording.Conversation{Part: 1, Last: true}
	for i := range 100_000 {
		c.Messages = append(c.Messages, recording.Message{From: recording.Client, At: int64(i), Data: fmt.Append(nil, i)})
	}
	talk := show.New(&recording.Exchange{TCP: c}, show.Options{}).Conversation
	if talk.Total != 100_000 {
		t.Fatalf("%d messages", talk.Total)
	}
	for _, page := range []struct{ from, count, first, last, size int }{
		{0, 50, 1, 50, 50}, {99_990, 50, 99_991, 100_000, 10}, {100_000, 50, 0, 0, 0}, {-5, 2, 1, 2, 2}, {1 << 40, 1 << 40, 0, 0, 0}, {5, -1, 0, 0, 0},
	} {
		all := talk.Messages(page.from, page.count)
		if len(all) != page.size || len(all) > 0 && (all[0].Number != page.first || all[len(all)-1].Number != page.last || all[0].Body.Text != fmt.Sprint(page.first-1)) {
			t.Errorf("from %d, %d messages: %d", page.from, page.count, len(all))
		}
	}
	if got := talk.Data(7); string(got) != "6" {
		t.Errorf("message 7 is %q", got)
	}
	if talk.Data(0) != nil || talk.Data(100_001) != nil {
		t.Error("there are messages outside the conversation")
	}
}
