package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/oneline"
	"github.com/tapedeck/tapedeck/proxy/status"
)

const (
	// patience is the timeout of a request.
	patience = 10 * time.Second
	// maxMetrics and maxStatus bound answers, in bytes. A sidecar with a thousand captured
	// hosts has 100 KiB of metrics.
	maxMetrics = 1 << 20
	maxStatus  = 256 << 10
	// maxQuoted bounds how much of an answer an error quotes.
	maxQuoted = 100
)

// client sends requests to an admin port.
type client struct {
	base     string
	http     *http.Client
	patience time.Duration // the constant, except in tests
}

// newClient checks the URL, and returns a client for it.
func newClient(at *url.URL) (*client, error) {
	what := ""
	switch {
	case at.Scheme != "http" && at.Scheme != "https":
		what = "the scheme " + strconv.Quote(at.Scheme)
	case at.Hostname() == "":
		what = "no host"
	case at.User != nil:
		what = "a user"
	case at.Path != "" && at.Path != "/" || at.RawQuery != "" || at.Fragment != "":
		what = "more than a host and a port"
	}
	if what != "" {
		return nil, fmt.Errorf("%s: found %s, allowed: the URL of a sidecar's admin port, such as http://localhost:%d", oneline.Text(at.Redacted(), maxQuoted), what, contract.AdminPort)
	}
	return &client{
		base:     (&url.URL{Scheme: at.Scheme, Host: at.Host}).String(),
		patience: patience,
		http: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// answer is the answer to a request.
type answer struct {
	code int
	kind string // media type
	to   string // of a redirect
	text []byte
}

// String describes the answer.
func (a answer) String() string {
	s := fmt.Sprintf("it answers %d", a.code)
	if a.to != "" {
		s += " and redirects to " + place(a.to)
	}
	if a.kind != "" {
		s += " with " + oneline.Text(a.kind, maxQuoted)
	}
	return s
}

// place returns a URL without the parts that may be secret: the user and the query.
func place(at string) string {
	u, err := url.Parse(at)
	if err != nil || u.Opaque != "" {
		return "another place"
	}
	return oneline.Text((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String(), maxQuoted)
}

// errTooLong means that an answer exceeds its bound.
var errTooLong = errors.New("too long")

// get asks for a path, and reads up to max bytes.
func (c *client) get(ctx context.Context, path string, max int64) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return a, err
	}
	req.Header.Set("User-Agent", "tapedeck-check")
	resp, err := c.http.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a.code, a.to = resp.StatusCode, resp.Header.Get("Location")
	a.kind, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if a.text, err = io.ReadAll(io.LimitReader(resp.Body, max+1)); err != nil {
		return a, err
	}
	if int64(len(a.text)) > max {
		return a, errTooLong
	}
	return a, nil
}

// observation has the answers of the admin port at one time.
type observation struct {
	metrics  metrics
	status   *status.Status // nil: the sidecar sent none
	noStatus string         // the reason
}

// sameProcess reports whether a later observation is of the same process.
func (o observation) sameProcess(later observation) bool {
	const name = "process_start_time_seconds"
	before, ok1 := o.metrics.sum(name)
	after, ok2 := later.metrics.sum(name)
	if ok1 && ok2 {
		return before == after
	}
	return o.status == nil || later.status == nil || o.status.Started.Equal(later.status.Started)
}

// observe makes the two requests of one observation.
func (c *client) observe(ctx context.Context) (observation, error) {
	counters, err := c.get(ctx, "/metrics", maxMetrics)
	if err != nil {
		return observation{}, c.failed(ctx, "/metrics", maxMetrics, err)
	}
	m, err := c.sidecars(counters)
	if err != nil {
		return observation{}, err
	}
	texts, err := c.get(ctx, status.Path, maxStatus)
	if err != nil {
		return observation{}, c.failed(ctx, status.Path, maxStatus, err)
	}
	return observed(m, texts), nil
}

// observed combines counters and the answer of /status.
func observed(m metrics, a answer) observation {
	o := observation{metrics: m}
	var said status.Status
	switch {
	case a.code == http.StatusNotFound:
		o.noStatus = "it has no " + status.Path
	case a.code != http.StatusOK:
		o.noStatus = "for " + status.Path + ", " + a.String()
	default:
		if err := json.Unmarshal(a.text, &said); err != nil {
			o.noStatus = status.Path + " is not the JSON of a sidecar: " + oneline.Text(err.Error(), maxQuoted)
			break
		}
		if said.Started.IsZero() || said.Time.IsZero() { // every sidecar sets both
			o.noStatus = status.Path + " is not the JSON of a sidecar: it doesn't say when it started"
			break
		}
		o.status = &said
		said.Notes = said.Notes[max(0, len(said.Notes)-status.MaxNotes):]
	}
	return o
}

// failed explains why an answer could not be read.
func (c *client) failed(ctx context.Context, path string, most int64, err error) error {
	var broken *url.Error
	if errors.As(err, &broken) { // its text repeats the URL
		err = broken.Err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errTooLong):
		return fmt.Errorf("%s%s: found an answer of more than %d bytes, which is not a sidecar's: %s", c.base, path, most, forward)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s%s: no complete answer within %v: is the sidecar running, and is the port-forward still active?", c.base, path, c.patience)
	}
	return fmt.Errorf("%s%s: no answer: %s; %s", c.base, path, oneline.Text(err.Error(), 3*maxQuoted), forward)
}

// forward explains how to reach a pod's admin port.
var forward = fmt.Sprintf("to check a pod, keep `kubectl port-forward -n NAMESPACE pod/POD %[1]d` running, and give http://localhost:%[1]d", contract.AdminPort)

// strangers are other programs that may answer. A prefix of their metrics identifies them.
var strangers = []struct{ prefix, what string }{
	{"tapedeck_collector_", "a collector"},
	{"tapedeck_mock_", "the responder of a mock"},
	{"envoy_", "Envoy"},
	{"istio_", "Istio's agent"},
	{"", "another program"},
}

// sidecars reads the metrics of a sidecar. It returns an error if another program answers.
func (c *client) sidecars(a answer) (metrics, error) {
	where := c.base + "/metrics"
	switch {
	case a.code == http.StatusForbidden:
		return nil, fmt.Errorf("%s: %v: a sidecar answers only requests for localhost, 127.0.0.1 and [::1]; %s", where, a, forward)
	case a.code != http.StatusOK, a.kind != "text/plain":
		return nil, fmt.Errorf("%s: %v, but a sidecar answers 200 with text/plain: is that its admin port? %s", where, a, forward)
	}
	m, err := parse(a.text)
	if err != nil {
		return nil, fmt.Errorf("%s: found text that is not metrics: %s: is that a sidecar's admin port? %s", where, oneline.Text(err.Error(), 2*maxQuoted), forward)
	}
	if _, ok := m.sum("tapedeck_connections_total"); ok {
		return m, nil
	}
	for _, s := range strangers {
		if m.has(s.prefix) {
			return nil, fmt.Errorf("%s: found the metrics of %s, not a sidecar's: %s", where, s.what, forward)
		}
	}
	return nil, fmt.Errorf("%s: found no metrics of a sidecar: %s", where, forward)
}
