package order

import (
	"hash/maphash"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// kind is a kind of identity.
type kind int

const (
	token      kind = iota // Authorization, or a key in another header
	cookie                 // cookies that look like a session's
	trace                  // the inbound request that caused this one
	connection             // of HTTP/1, whose requests follow each other
	kinds
)

// Identity says who a caller is, by hashes of what requests carry; 0: nothing.
type Identity [kinds]uint64

// hashed hashes a text for this process; never to 0.
func hashed(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range parts {
		h.WriteString(p)
		h.WriteByte(0)
	}
	return h.Sum64() | 1
}

var seed = maphash.MakeSeed()

// Identify finds out who sent a request, by its fields. conn names its connection, "" if
// requests of different callers share it.
func Identify(h recording.Headers, conn string) (id Identity) {
	if conn != "" {
		id[connection] = hashed(conn)
	}
	var traceRank, tokenRank int
	for i := range h {
		f := &h[i]
		if f.Value == "" {
			continue
		}
		if rank := traces[f.Name]; rank > traceRank {
			if v := traceOf(f.Name, f.Value); v != "" {
				id[trace], traceRank = hashed(v), rank
			}
			continue
		}
		if rank := tokens[f.Name]; rank > tokenRank {
			id[token], tokenRank = hashed(f.Name, f.Value), rank
			continue
		}
		if f.Name == "Cookie" {
			id[cookie] = cookies(f.Value, id[cookie])
		}
	}
	return id
}

// traces are the fields that name a trace, the best with the highest rank. They are those
// by which capture finds the cause of an outbound request.
var traces = map[string]int{"Traceparent": 4, "B3": 3, "X-B3-Traceid": 2, "X-Request-Id": 1}

// traceOf returns the trace's id.
func traceOf(name, value string) string {
	switch name {
	case "Traceparent": // version-trace-parent-flags
		if parts := strings.SplitN(value, "-", 4); len(parts) == 4 {
			return parts[1]
		}
		return ""
	case "B3": // trace-span-sampled-parent
		id, _, _ := strings.Cut(value, "-")
		if len(id) < 16 {
			return ""
		}
		return id
	}
	return value
}

// tokens are the fields that name a caller.
var tokens = map[string]int{
	"Authorization": 9, "X-Session-Token": 8, "X-Session-Id": 7, "X-Auth-Token": 6, "X-Access-Token": 5, "X-User-Id": 4, "X-Api-Token": 3, "X-Api-Key": 2, "Api-Key": 1,
}

// cookies adds the cookies of a field that look like a session's; all of them, if none
// does.
func cookies(value string, before uint64) uint64 {
	var session []string
	for pair := range strings.SplitSeq(value, ";") {
		name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
		name = strings.ToLower(name)
		for _, word := range [...]string{"sess", "sid", "auth", "token", "jwt", "user", "login"} {
			if strings.Contains(name, word) && !strings.Contains(name, "csrf") && !strings.Contains(name, "xsrf") {
				session = append(session, strings.TrimSpace(pair))
				break
			}
		}
	}
	if len(session) == 0 {
		session = append(session, value)
	}
	return hashed(session...) ^ before&^1
}

// maxKnown bounds how many live identities are remembered, and half of it at least are.
const maxKnown = 1 << 20

// generations is a map that forgets what was not asked for during a long time.
type generations[K comparable] struct {
	young, old map[K]uint64
}

func (g *generations[K]) get(k K) (v uint64, ok bool) {
	if v, ok = g.young[k]; ok {
		return v, true
	}
	if v, ok = g.old[k]; ok {
		g.set(k, v)
	}
	return v, ok
}

func (g *generations[K]) set(k K, v uint64) {
	if len(g.young) >= maxKnown/2 || g.young == nil {
		g.old, g.young = g.young, map[K]uint64{}
	}
	g.young[k] = v
}
