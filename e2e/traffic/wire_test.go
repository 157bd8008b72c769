package traffic

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// whole stops the sidecar and returns what it recorded, each conversation as one exchange.
func (s *sidecar) whole() (all []*recording.Exchange) {
	s.t.Helper()
	s.stop()
	for e, err := range read.All(s.t.Context(), read.Options{Order: read.Sorted}, store.Dir(filepath.Join(s.dir, "recordings"))) {
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// again sends a recorded exchange to a target and returns the result, and the differences of its
// answer.
func again(t *testing.T, c *wire.Client, e *recording.Exchange) (*wire.Result, error, match.Differences) {
	t.Helper()
	request, err := wire.Append(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := new(wire.Result)
	err = c.Send(t.Context(), request, r)
	return r, err, m.Diff(e, &r.Live, false)
}

// target returns a client of package wire.
func target(t *testing.T, address string, o wire.Options) *wire.Client {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	o.Target = u
	c, err := wire.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Every kind of call that was recorded gets the same answers from gRPC's own server when it
// is sent again, with and without TLS.
func TestRecordedCallsAreAnsweredAlikeAgain(t *testing.T) {
	a := newAuthority(t)
	server := &service{}
	s := start(t, serveGRPC(t, server, nil))
	conn, err := grpc.NewClient("passthrough:///"+s.reverse(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		if err := c.do(metadata.AppendToOutgoingContext(ctx, "x-call", c.name), pb.NewTestServiceClient(conn)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		cancel()
	}
	conn.Close()
	recorded := s.whole()
	if len(recorded) != len(calls) {
		t.Fatalf("%d calls are recorded as %d", len(calls), len(recorded))
	}
	for _, of := range []struct {
		scheme, address string
	}{
		{"grpc", serveGRPC(t, server, nil)},
		{"grpcs", serveGRPC(t, server, a.server("h2"))},
	} {
		c := target(t, of.scheme+"://"+of.address, wire.Options{Pace: 1, TLS: &tls.Config{ServerName: serverName, RootCAs: pool(t, a.file)}})
		for _, e := range recorded {
			name := e.HTTP.Req.Headers.Get("X-Call")
			t.Run(of.scheme+"/"+name, func(t *testing.T) {
				// Binary metadata is secret: the recording has a token for it, which is not the
				// value.
				e.HTTP.Req.Headers = slices.DeleteFunc(slices.Clone(e.HTTP.Req.Headers), func(h recording.Header) bool { return h.Name == "X-Raw-Bin" })
				e.HTTP.Res.Headers = slices.DeleteFunc(slices.Clone(e.HTTP.Res.Headers), func(h recording.Header) bool { return h.Name == "X-Raw-Bin" })
				if name == "unary, large" {
					if _, err := wire.Append(nil, e); !errors.Is(err, wire.ErrCut) {
						t.Errorf("a call that a limit has cut: %v", err)
					}
					return
				}
				if name == "out of time" { // either side may give up first, as in the recording
					switch _, err := wire.Append(nil, e); {
					case err == nil:
						again(t, c, e)
					case !errors.Is(err, wire.ErrIncomplete):
						t.Error(err)
					}
					return
				}
				r, err, differences := again(t, c, e)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range differences.List {
					t.Errorf("%s: %s", d.Kind, d)
				}
				if client, server := e.Sizes(); r.BytesOut != client || r.BytesIn != server {
					t.Errorf("%d bytes out and %d in; recorded were %d and %d", r.BytesOut, r.BytesIn, client, server)
				}
			})
		}
	}
}

// A recorded WebSocket conversation can be replayed, in every mode of compression on either side.
func TestARecordedWebSocketIsHeldAgain(t *testing.T) {
	modes := []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover}
	bye := end{4001, "enough"}
	chats := func(t *testing.T, mode websocket.CompressionMode) (*httptest.Server, chan error) {
		ended := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode})
			if err == nil {
				err = serveChat(r.Context(), c, bye)
			}
			ended <- err
		}))
		t.Cleanup(server.Close)
		return server, ended
	}
	for _, recordedMode := range modes {
		server, ended := chats(t, recordedMode)
		s := start(t, server.Listener.Addr().String())
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		conn, _, err := websocket.Dial(ctx, "ws://"+s.reverse()+"/chat", &websocket.DialOptions{CompressionMode: recordedMode})
		if err != nil {
			t.Fatal(err)
		}
		if err := converse(ctx, conn, bye); err != nil {
			t.Error("client:", err)
		}
		if err := <-ended; err != nil {
			t.Error("server:", err)
		}
		recorded := s.whole()
		if len(recorded) != 1 {
			t.Fatalf("recorded %d times", len(recorded))
		}
		for _, mode := range modes {
			t.Run(fmt.Sprintf("recorded with mode %d, held with mode %d", recordedMode, mode), func(t *testing.T) {
				server, ended := chats(t, mode)
				r, err, differences := again(t, target(t, server.URL, wire.Options{}), recorded[0])
				if err != nil {
					t.Fatal(err)
				}
				if err := <-ended; err != nil {
					t.Error("server:", err)
				}
				for _, d := range differences.List {
					if !strings.HasPrefix(d.String(), "header:sec-websocket-extensions") || mode == recordedMode {
						t.Errorf("%s: %s", d.Kind, d)
					}
				}
				if n := len(r.Live.WebSocket.Messages); n < len(chat) {
					t.Errorf("the server said %d things", n)
				}
			})
		}
	}
}
