package mock

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
	"github.com/tapedeck/tapedeck/recording/read/readtest"
)

// Files in the formats of other tools answer their own HTTP requests. The files of the corpus were
// recorded by these tools; the others were written for this test.
func TestFilesOfOtherToolsAnswerTheirOwnRequests(t *testing.T) {
	t.Run("written", func(t *testing.T) { answerTheirOwn(t, readtest.All(t, "../match/testdata/othertools"), 12) })
	t.Run("recorded", func(t *testing.T) {
		answerTheirOwn(t, readtest.OfOtherTools(t, "../../shared/corpus/traffic/rrpair"), 90)
	})
}

func answerTheirOwn(t *testing.T, all []*recording.Exchange, atLeast int) {
	for _, e := range all {
		e.Direction = recording.Out // include those that a workload received
	}
	m := start(t, all)
	client := m.client()
	answered, without := 0, map[string]int{}
	for _, e := range all {
		if e.HTTP == nil {
			without[e.L7Protocol]++
			continue
		}
		want, err := e.Response().Decode(new(coding.Decoder), nil, maxDecoded)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(requestOf(t, e))
		if err != nil {
			t.Fatalf("%s %s: %v", e.Command, e.Location, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != e.HTTP.Res.StatusCode || !bytes.Equal(body, want) {
			t.Errorf("%s %s: %d %.300q, %v, recorded %d %.100q", e.Command, e.Location, res.StatusCode, body, err, e.HTTP.Res.StatusCode, want)
		}
		answered++
	}
	// These files hold the messages of these protocols, not their bytes.
	for protocol := range without {
		if protocol != "postgres" && protocol != "amqp091" {
			t.Errorf("%d exchanges of %q were not asked for", without[protocol], protocol)
		}
	}
	if answered < atLeast {
		t.Errorf("%d answered, want %d", answered, atLeast)
	}
	t.Logf("%d of %d answered; without the bytes of the connection: %v", answered, len(all), without)
}

// requestOf returns the request of a recorded exchange.
func requestOf(t *testing.T, e *recording.Exchange) *http.Request {
	t.Helper()
	scheme := "http"
	if e.IsTLS || e.L7Protocol == recording.HTTPS {
		scheme = "https"
	}
	req := &e.HTTP.Req
	uri := cmp.Or(req.URI, req.URL)
	if !strings.Contains(uri, "://") {
		uri = scheme + "://" + cmp.Or(req.Host, e.NetworkAddress) + uri
	}
	r, err := http.NewRequest(req.Method, uri, bytes.NewReader(req.Body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range req.Headers {
		switch h.Name {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Accept-Encoding":
		default:
			r.Header.Add(h.Name, h.Value)
		}
	}
	return r
}
