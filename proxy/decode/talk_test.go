package decode

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// A part of a long conversation, of any protocol, is written some seconds after the first message
// that isn't written yet.
func TestPartsEndByAge(t *testing.T) {
	upgrade := []byte("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	upgraded := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
	f := newFramer()
	call := []byte(http2.ClientPreface)
	for _, id := range []int{1, 3, 5} {
		call = append(call, f.frame(t, fmt.Sprintf("HEADERS %d :method=POST :path=/a/b content-type=application/grpc", id))...)
	}
	messages := func(ids ...int) (p []byte) {
		for _, id := range ids {
			p = append(p, f.frame(t, fmt.Sprintf("GRPC %d hi", id))...)
		}
		return p
	}
	for _, c := range []struct {
		name         string
		begin        [2][]byte
		first, again []byte
		parts        int // of the first messages
	}{
		{"TCP", [2][]byte{[]byte("\x00\x01"), nil}, []byte("hi"), []byte("hi"), 1},
		{"WebSocket", [2][]byte{upgrade, upgraded}, []byte("\x81\x02hi"), []byte("\x81\x02hi"), 1},
		{"gRPC", [2][]byte{call, nil}, messages(1, 3, 5), messages(3), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sink memory
			r := New(Config{}, &sink).Open(&tap.Flow{Started: epoch}).(tap.Timely)
			at := epoch
			for side, p := range c.begin {
				r.Data(tap.Side(side), at, p)
			}
			r.Data(tap.FromClient, at.Add(time.Second), c.first)
			if !r.Waits() {
				t.Fatal("it doesn't wait although there is a message to write")
			}
			r.Tick(at.Add(3 * time.Second))
			if len(sink.lines) > 0 {
				t.Errorf("%d records after two seconds", len(sink.lines))
			}
			r.Tick(at.Add(7 * time.Second))
			if len(sink.lines) != c.parts {
				t.Errorf("%d records after six seconds, want %d", len(sink.lines), c.parts)
			}
			if r.Waits() {
				t.Error("it waits although all is written")
			}
			r.Data(tap.FromClient, at.Add(time.Hour), c.again)
			r.Tick(at.Add(2 * time.Hour))
			r.Close(at.Add(3 * time.Hour))
			var numbers []int
			for _, e := range sink.decode(t) {
				numbers = append(numbers, cmp.Or(e.TCP, e.WebSocket, e.GRPC).Part)
			}
			slices.Sort(numbers)
			want := map[int][]int{1: {1, 2, 3}, 3: {1, 1, 1, 2, 2, 2, 3}}[c.parts]
			if !slices.Equal(numbers, want) {
				t.Errorf("parts %v, want %v", numbers, want)
			}
		})
	}
}
