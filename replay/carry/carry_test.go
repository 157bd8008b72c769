package carry

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// exchange returns an exchange that began ms milliseconds after the recording and took one
// millisecond.
func exchange(ms int, method, uri, body string, status int, answer string, fields ...string) *recording.Exchange {
	path := uri[:endOf(uri, "?")]
	e := &recording.Exchange{
		TS: time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond), Duration: 1, Direction: recording.In, Command: method, Location: path,
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: method, URI: uri, URL: path, Body: []byte(body)}, Res: recording.HTTPResponse{StatusCode: status, Body: []byte(answer)}},
	}
	for i := 0; i+1 < len(fields); i += 2 {
		h := recording.Header{Name: fields[i], Value: fields[i+1]}
		if name := h.Name; name[0] == '<' {
			h.Name = name[1:]
			e.HTTP.Res.Headers = append(e.HTTP.Res.Headers, h)
		} else {
			e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, h)
		}
	}
	return e
}

// Values that a login and a creation issue are carried into headers and paths.
func TestCarry(t *testing.T) {
	build := func(token, id, etag string) []*recording.Exchange {
		return []*recording.Exchange{
			exchange(0, "POST", "/login", `{"user":"ann","password":"x"}`, 200, `{"access_token": "`+token+`","kind":"Bearer"}`),
			exchange(10, "POST", "/orders", `{"qty":2}`, 201, `{"id":`+id+`,"qty":2}`, "Authorization", "Bearer "+token, "<Etag", etag, "<Location", "/orders/"+id),
			exchange(20, "PUT", "/orders/"+id, `{"qty":3}`, 200, `{}`, "Authorization", "Bearer "+token, "If-Match", etag),
		}
	}
	recorded, live := build("tok_9f8a7b6c5d", "17", `"v1"`), build("tok_1a2b3c4d5e", "203", `"v9"`)
	f := NewFinder(Options{})
	for _, e := range recorded {
		f.Add(e)
	}
	g := f.Finish()
	s := g.NewState(StateOptions{})
	for i, e := range recorded {
		sent := *e
		h := *e.HTTP
		sent.HTTP = &h
		s.Apply(i, &sent)
		if sent.HTTP.Req.URI != live[i].HTTP.Req.URI {
			t.Error(sent.HTTP.Req.URI)
		}
		for j, h := range live[i].HTTP.Req.Headers {
			if sent.HTTP.Req.Headers[j] != h {
				t.Error(sent.HTTP.Req.Headers[j], h)
			}
		}
		s.Answered(i, e, live[i])
	}
}
