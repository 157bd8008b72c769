package mock

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/match"
)

// noResult is the result of a request that was not looked up.
var noResult match.Result

// Miss explains why a request got no recorded answer.
type Miss struct {
	Verdict Verdict   `json:"verdict"`
	At      time.Time `json:"at"`
	Method  string    `json:"method,omitempty"`
	Host    string    `json:"host"`
	Path    string    `json:"path,omitempty"`
	// Code is a stable identifier of the reason. Reason describes it in a sentence.
	Code   string `json:"code"`
	Reason string `json:"reason"`
	// Explanation says how the request was judged, and how the nearest recorded request differs.
	Explanation *match.Explanation `json:"explanation,omitempty"`
	// Hint says what the user can do.
	Hint string `json:"hint,omitempty"`
	// Count is the number of misses of the endpoint for this Code, in a receipt.
	Count int64 `json:"count,omitempty"`
}

// hints maps the code of a miss to what the user can do.
var hints = map[string]string{
	"no_match":       "if the difference does not matter, ignore or mask the place by a rule; if the request is new, record it",
	"no_endpoint":    "record the request, or list the host with --passthrough",
	"no_host":        "record the host, or list it with --passthrough",
	"exhausted":      "choose another policy for repeated requests: --repeat last or --repeat cycle",
	"no_answer":      "record it again: when this was recorded, the dependency gave no answer",
	"not_whole":      "record it again, with a larger TAPEDECK_BODY_LIMIT if that is what cut it, or serve what there is with --allow-cut",
	"damaged":        "start again: the file with the recorded answers can't be read",
	"other_protocol": "record what the client speaks now",
}

// misses keeps the first misses for the receipt.
type misses struct {
	mu   sync.Mutex
	kept []Miss
	seen map[string]int // index in kept of the first one
}

// maxMisses bounds the misses that are kept, one for each endpoint and reason.
const maxMisses = 100

// keep keeps or counts a miss, and reports whether it is the first one of its endpoint and reason.
func (m *misses) keep(miss Miss) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := miss.Method + " " + miss.Host + shape(miss.Path) + " " + miss.Code
	if i, ok := m.seen[key]; ok {
		m.kept[i].Count++
		return false
	}
	if len(m.kept) >= maxMisses {
		return false
	}
	if m.seen == nil {
		m.seen = map[string]int{}
	}
	m.seen[key] = len(m.kept)
	miss.Count = 1
	m.kept = append(m.kept, miss)
	return true
}

func (m *misses) all() []Miss {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Miss(nil), m.kept...)
}

// explain explains a miss and keeps it. It logs the first one of each endpoint and reason.
func (q *ask) explain(why reason, live *match.Request, found match.Result) Miss {
	miss := Miss{Verdict: Missed, At: q.began.UTC(), Method: q.exchange.Command, Host: q.host, Path: q.exchange.Location, Code: why.code, Reason: why.text}
	if miss.Host == "" {
		miss.Host = q.exchange.NetworkAddress
	}
	if live != nil {
		miss.Explanation = q.lib.index.Explain(live, found, q.lib.request)
	}
	if k := miss.Explanation; why.code == "no_match" && k != nil && k.Known != nil {
		miss.Code, miss.Reason = "no_endpoint", "the recording has nothing for this endpoint"
		if !k.Known.Host {
			miss.Code, miss.Reason = "no_host", "the recording has nothing for this host"
		}
	}
	miss.Hint = hints[miss.Code]
	if q.misses.keep(miss) {
		q.Log.Warn("miss", "method", miss.Method, "host", miss.Host, "path", miss.Path, "reason", miss.Reason, "nearest", nearest(miss.Explanation))
	}
	return miss
}

// missStatus is the HTTP status of a miss. No client mistakes it for success, and few clients retry it.
const missStatus = http.StatusNotImplemented

// miss answers a request that has no recorded answer.
func (q *ask) miss(why reason, live *match.Request, found match.Result) {
	miss := q.explain(why, live, found)
	h := q.w.Header()
	clear(h)
	h.Set("Cache-Control", "no-store") // otherwise caches may store a 501 (RFC 9110 section 15.1)
	h.Set("X-Tapedeck-Match", string(Missed))
	text := miss.text()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if q.wantsJSON() {
		h.Set("Content-Type", "application/json")
		b, err := json.MarshalIndent(miss, "", "  ")
		if err != nil {
			b = []byte(fmt.Sprintf("{%q: %q}", "verdict", Missed))
		}
		text = string(b) + "\n"
	}
	q.w.WriteHeader(missStatus)
	if q.r.Method != http.MethodHead {
		_, _ = q.w.Write([]byte(text)) // an error means that the client is gone
	}
	q.out = outcome{status: missStatus, header: h, body: []byte(text), size: int64(len(text)), begun: q.began, why: miss.Reason}
	q.finish(Missed)
}

// wantsJSON reports whether the client prefers JSON to text.
func (q *ask) wantsJSON() bool {
	accept := strings.Join(q.r.Header["Accept"], ",")
	return strings.Contains(accept, "json") || strings.Contains(q.r.Header.Get("Content-Type"), "json") && !strings.Contains(accept, "text/")
}

// target returns the method and URL of the request.
func (m *Miss) target() string {
	if m.Method == "" {
		return "tcp " + cmp.Or(m.Host, "without a host")
	}
	return m.Method + " " + m.Host + m.Path
}

// text returns the explanation for people.
func (m *Miss) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tapedeck: MISS: %s: %s\n", m.target(), m.Reason)
	if m.Explanation != nil {
		_ = m.Explanation.Text(&b) // a Builder never fails
	}
	if m.Hint != "" {
		fmt.Fprintf(&b, "what to do: %s\n", m.Hint)
	}
	return b.String()
}

// nearest describes in one line where the nearest recorded request differs.
func nearest(e *match.Explanation) string {
	if e == nil || e.Nearest == nil {
		return ""
	}
	const most = 3
	var all []string
	for i, d := range e.Nearest.List {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(e.Nearest.List)-most+e.Nearest.More))
			break
		}
		all = append(all, d.String())
	}
	return strings.Join(all, "; ")
}
