package order

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// kind is a kind of identity.
type kind int

const (
	token      kind = iota // Authorization, or a key in another header
	cookie                 // cookies that look like a session's
	trace                  // the inbound request that caused this one
	connection             // of HTTP/1, which carries one request at a time
	kinds
)

// Identity identifies a caller by hashes of values in its request. 0 means that the request has no
// such value.
type Identity [kinds]uint64

// Hash hashes parts with a seed of this process. The result is never 0.
func Hash(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, p := range parts {
		h.WriteString(p)
		h.WriteByte(0)
	}
	return h.Sum64() | 1
}

var seed = maphash.MakeSeed()

// Identify returns the identity of a request's caller. conn identifies its connection, and is 0 if
// several callers may share it.
func Identify(h recording.Headers, conn uint64) (id Identity) {
	id[connection] = conn
	var traceRank, tokenRank int
	for i := range h {
		f := &h[i]
		if f.Value == "" {
			continue
		}
		if rank := traceField(f.Name); rank > traceRank {
			if v := traceOf(f.Name, f.Value); v != "" {
				id[trace], traceRank = maphash.String(seed, v)|1, rank
			}
			continue
		}
		if rank := tokenField(f.Name); rank > tokenRank {
			id[token], tokenRank = Hash(f.Name, f.Value), rank
			continue
		}
		if f.Name == "Cookie" {
			id[cookie] = cookies(f.Value, id[cookie])
		}
	}
	return id
}

// traceField ranks a header that names a trace, the best one highest. It returns 0 for other headers.
// Capture uses the same headers to find the cause of an outbound request.
func traceField(name string) int {
	switch name {
	case "Traceparent":
		return 4
	case "B3":
		return 3
	case "X-B3-Traceid":
		return 2
	case "X-Request-Id":
		return 1
	}
	return 0
}

// tokenField ranks a header that names a caller. It returns 0 for other headers.
func tokenField(name string) int {
	switch name {
	case "Authorization":
		return 9
	case "X-Session-Token":
		return 8
	case "X-Session-Id":
		return 7
	case "X-Auth-Token":
		return 6
	case "X-Access-Token":
		return 5
	case "X-User-Id":
		return 4
	case "X-Api-Token":
		return 3
	case "X-Api-Key":
		return 2
	case "Api-Key":
		return 1
	}
	return 0
}

// traceOf returns the trace ID in a header.
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

// cookies adds the cookies in a header that look like session cookies, or all if none does.
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
	return Hash(session...) ^ before&^1
}

// maxKnown bounds the live identities that are remembered. At least half as many are remembered.
const maxKnown = 1 << 20

// generations is a map that forgets entries that have not been used for a long time.
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

// Shared is a set of kinds of identities.
type Shared uint8

// Share finds, for each of n recorded identities, the kinds whose values other exchanges also have. A
// value that only one exchange has says nothing about other exchanges.
func Share(n int, identity func(i int) *Identity, set func(i int, s Shared)) {
	shared := make([]Shared, n)
	values := make([]uint64, 0, n)
	for k := range kinds {
		values = values[:0]
		for i := range n {
			if v := identity(i)[k]; v != 0 {
				values = append(values, v)
			}
		}
		slices.Sort(values)
		for i := range n {
			v := identity(i)[k]
			if v == 0 {
				continue
			}
			if at, _ := slices.BinarySearch(values, v); at+1 < len(values) && values[at+1] == v {
				shared[i] |= 1 << k
			}
		}
	}
	for i, s := range shared {
		set(i, s)
	}
}

// Caller returns the hash of the session cookies, otherwise of a credential, or 0 if there is
// neither.
func (id Identity) Caller() uint64 { return cmp.Or(id[cookie], id[token]) }
