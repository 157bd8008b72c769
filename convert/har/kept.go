package har

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/tapedeck/tapedeck/recording"
)

// extra keeps what an exchange has no field for in the member har.
func (p *parser) extra() {
	drop := func(all []recording.Member) []recording.Member {
		return slices.DeleteFunc(all, func(m recording.Member) bool {
			return string(m.Value) == "null" || string(m.Value) == `""` || m.Name == "cache" && string(m.Value) == "{}"
		})
	}
	o := object(drop(p.kept))
	if req := drop(p.keptReq); len(req) > 0 {
		o.set("request", object(req).append(nil))
	}
	if res := drop(p.keptRes); len(res) > 0 {
		o.set("response", object(res).append(nil))
	}
	if len(o) > 0 {
		p.e.Extra = append(p.e.Extra, recording.Member{Name: extraMember, Value: o.append(nil)})
	}
}

// extra puts into the entry what another one had that the exchange was read from.
func extra(e *recording.Exchange, entry, req, res *object) {
	at := slices.IndexFunc(e.Extra, func(m recording.Member) bool { return m.Name == extraMember })
	if at < 0 {
		return
	}
	add := func(to *object, may ...string) func(name string, value []byte) error {
		return func(name string, value []byte) error {
			known := slices.ContainsFunc(*to, func(m recording.Member) bool { return m.Name == name })
			if name != ownMember && (!known || slices.Contains(may, name) && sameKind(name, value)) {
				to.set(name, value)
			}
			return nil
		}
	}
	top := add(entry, "time", "timings", "cache")
	_ = recording.EachMember(e.Extra[at].Value, recording.MaxMembers, func(name string, value []byte) error { // what is none, adds nothing
		switch name {
		case "pageref": // there are no pages
			return nil
		case "request":
			return recording.EachMember(value, recording.MaxMembers, add(req, "headersSize", "bodySize"))
		case "response":
			return recording.EachMember(value, recording.MaxMembers, add(res, "headersSize", "bodySize", "httpVersion", "redirectURL", "statusText"))
		}
		return top(name, value)
	})
}

// sameKind tells whether a value is of the type that HAR wants.
func sameKind(name string, value []byte) bool {
	var to any
	switch name {
	case "time", "headersSize", "bodySize":
		to = new(float64)
	case "timings":
		var t struct {
			Send, Wait, Receive        *float64
			Blocked, DNS, Connect, SSL float64
		}
		return json.Unmarshal(value, &t) == nil && t.Send != nil && t.Wait != nil && t.Receive != nil
	case "cache":
		return bytes.HasPrefix(value, []byte("{"))
	default:
		to = new(string)
	}
	return json.Unmarshal(value, to) == nil
}
