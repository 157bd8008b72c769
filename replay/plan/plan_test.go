package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/scratch"
	"github.com/tapedeck/tapedeck/recording"
)

func exchange(at time.Duration, method, path, body string) *recording.Exchange {
	return &recording.Exchange{MsgType: recording.MsgType, TS: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(at), Duration: 20, Direction: recording.In,
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: method, URL: path, URI: path, Version: "1.1", Body: []byte(body)}, Res: recording.HTTPResponse{StatusCode: 200}}}
}

func options() Options {
	return Options{
		Encode: func(dst []byte, e *recording.Exchange) ([]byte, error) {
			if e.HTTP.Req.Method == "CONNECT" {
				return dst, errors.New("a tunnel is not sent")
			}
			return append(append(dst, e.HTTP.Req.URL+"\n"...), e.HTTP.Req.Body...), nil
		},
		Endpoint: func(e *recording.Exchange) string { return e.HTTP.Req.Method },
	}
}

func TestPlan(t *testing.T) {
	b, err := NewBuilder(options())
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000 // more than fits into the buffer
	large := strings.Repeat("x", 1000)
	for i := range n {
		e := exchange(time.Duration(i)*time.Second, "POST", fmt.Sprint("/", i), large)
		if i%3 == 0 {
			e.HTTP.Req.Method = "GET"
		}
		if ok, err := b.Add(e); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if ok, err := b.Add(exchange(0, "CONNECT", "a:443", "")); ok || err != nil {
		t.Fatal(ok, err)
	}
	p, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Len() != n || len(p.Endpoints) != 2 || p.Length() != (n-1)*time.Second+20*time.Millisecond {
		t.Errorf("%d steps, %q, %s", p.Len(), p.Endpoints, p.Length())
	}
	if len(p.Left) != 1 || p.Left[0] != (Left{"a tunnel is not sent", 1, "CONNECT a:443"}) {
		t.Errorf("%+v", p.Left)
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		request, err := p.Request(nil, i)
		e, err2 := p.Exchange(i)
		if err != nil || err2 != nil || string(request) != fmt.Sprintf("/%d\n%s", i, large) || e.HTTP.Req.URL != fmt.Sprint("/", i) || p.Step(i).Safe != (i%3 == 0) {
			t.Errorf("step %d: %.20q %v %v %+v", i, request, err, err2, p.Step(i))
		}
	}
}

func TestTheFileIsBounded(t *testing.T) {
	o := options()
	o.Limit = 100
	b, err := NewBuilder(o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abandon()
	if _, err := b.Add(exchange(0, "GET", "/", strings.Repeat("x", 200))); !errors.Is(err, scratch.ErrFull) {
		t.Errorf("%v", err)
	}
}

// Clocks of pods differ, and may go backwards. Steps are sent in the order in which they were added.
func TestTimesDoNotGoBack(t *testing.T) {
	b, err := NewBuilder(options())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{5, 3, 9} {
		if _, err := b.Add(exchange(at*time.Second, "GET", "/", "")); err != nil {
			t.Fatal(err)
		}
	}
	p, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, want := range []time.Duration{0, 0, 4 * time.Second} {
		if p.Step(i).At != want {
			t.Errorf("step %d is at %s, want %s", i, p.Step(i).At, want)
		}
	}
}

func TestPathsFullOfValuesShareAnEndpoint(t *testing.T) {
	o := options()
	o.Endpoint = func(e *recording.Exchange) string { return e.HTTP.Req.URL }
	b, err := NewBuilder(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxEndpoints + 10 {
		if _, err := b.Add(exchange(0, "GET", fmt.Sprint("/", i), "")); err != nil {
			t.Fatal(err)
		}
	}
	p, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if len(p.Endpoints) != maxEndpoints+1 || p.Endpoints[p.Step(maxEndpoints+9).Endpoint] != others {
		t.Errorf("%d endpoints, the last is %s", len(p.Endpoints), p.Endpoints[len(p.Endpoints)-1])
	}
}
