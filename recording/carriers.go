package recording

import "strings"

// Carrier is a header that an application propagates from the request that it serves to the
// requests that it makes.
type Carrier struct {
	// Name is the header's name in lower case, and Header the same name in canonical form.
	Name, Header string
	// ID returns the ID in a value, or "" if there is none.
	ID func(value string) string
	// Shared returns the part of an ID that is the same in all services of a trace.
	Shared func(id string) string
}

// Carriers returns the headers that carry IDs, most reliable first.
func Carriers() [4]Carrier {
	return [...]Carrier{
		// W3C Trace Context, section 3.2.2: version-traceid-parentid-flags.
		{"traceparent", "Traceparent", func(v string) string {
			if len(v) < 55 || v[2] != '-' || v[35] != '-' {
				return ""
			}
			return v[3:35]
		}, lastHalf},
		// B3 single header: traceid-spanid-sampled-parent; or the sampling decision alone.
		{"b3", "B3", func(v string) string {
			id, _, ok := strings.Cut(v, "-")
			if !ok {
				return ""
			}
			return id
		}, lastHalf},
		{"x-b3-traceid", "X-B3-Traceid", whole, lastHalf},
		{"x-request-id", "X-Request-Id", whole, withoutReason},
	}
}

func whole(v string) string { return v }

// lastHalf returns the last 64 bits of a trace ID. If a 64-bit ID was made from a 128-bit ID, or the
// reverse, both have the same last half.
func lastHalf(id string) string { return id[max(0, len(id)-16):] }

// reason is the index of the UUID digit in which Envoy records why it traces a request.
const reason = 14

// withoutReason returns the part of a request's ID that stays the same from hop to hop.
func withoutReason(id string) string {
	if len(id) == 36 && id[reason-1] == '-' {
		return id[:reason] + id[reason+1:]
	}
	return id
}

// Trace returns the ID that the headers of a request carry, and the part of it that all services
// of the trace share. Both are "" if there is none.
func (h Headers) Trace() (id, shared string) {
	for _, c := range Carriers() {
		if id = c.ID(h.Get(c.Header)); id != "" {
			return id, c.Shared(id)
		}
	}
	return "", ""
}
