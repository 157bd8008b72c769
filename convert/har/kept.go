package har

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/tapedeck/tapedeck/recording"
)

// extraMember is the member of an exchange for the parts of an entry that it has no field for. It
// is an object with members of the entry. Its objects request and response have those of the
// request and the response.
const extraMember = "har"

// keepMembers puts the members that an exchange has no field for into the member har.
func (p *parser) keepMembers() {
	drop := func(all []recording.Member) []recording.Member {
		return slices.DeleteFunc(all, func(m recording.Member) bool {
			return string(m.Value) == "null" || string(m.Value) == `""` || m.Name == "cache" && string(m.Value) == "{}"
		})
	}
	write := func(o *object, all []recording.Member) {
		for _, m := range all {
			o.raw(m.Name, m.Value)
		}
	}
	o := begin(nil)
	write(&o, drop(p.kept))
	for _, side := range []struct {
		name string
		all  []recording.Member
	}{{"request", drop(p.req.kept)}, {"response", drop(p.res.kept)}} {
		if len(side.all) > 0 {
			one := begin(nil)
			write(&one, side.all)
			o.raw(side.name, one.end())
		}
	}
	if o.some {
		p.e.Extra = append(p.e.Extra, recording.Member{Name: extraMember, Value: o.end()})
	}
}

// kept has the members that an exchange kept from its entry.
type kept struct{ entry, request, response []recording.Member }

// keptOf returns the kept members that may be written to an entry.
func keptOf(e *recording.Exchange) (k kept) {
	at := slices.IndexFunc(e.Extra, func(m recording.Member) bool { return m.Name == extraMember })
	if at < 0 {
		return k
	}
	read := func(text []byte, checks map[string]func([]byte) bool) (all []recording.Member) {
		_ = recording.EachMember(text, recording.MaxMembers, func(name string, value []byte) error { // a value that is not an object has no members
			if may, known := checks[name]; !known || may != nil && may(value) {
				all = append(all, recording.Member{Name: name, Value: value})
			}
			return nil
		})
		return all
	}
	k.entry = read(e.Extra[at].Value, entryChecks)
	for _, m := range k.entry {
		switch m.Name {
		case "request":
			k.request = read(m.Value, requestChecks)
		case "response":
			k.response = read(m.Value, responseChecks)
		}
	}
	k.entry = slices.DeleteFunc(k.entry, func(m recording.Member) bool { return m.Name == "request" || m.Name == "response" })
	return k
}

// The checks decide which kept members may be written. Browsers reject a whole log if one value has
// another type than they expect, so each name that they read has a check. nil is for members that
// the writer derives from the exchange. Members with other names are written without a check.
var (
	entryChecks = map[string]func([]byte) bool{
		"request": isObject, "response": isObject,
		"startedDateTime": nil, "serverIPAddress": nil, "_webSocketMessages": nil, ownMember: nil,
		"pageref": nil, // there are no pages
		"time":    isNumber, "timings": areTimings, "cache": isObject, "connection": isText, "comment": isText, "_initiator": isInitiator,
	}
	requestChecks = map[string]func([]byte) bool{
		"method": nil, "url": nil, "cookies": nil, "headers": nil, "queryString": nil, "postData": nil, "httpVersion": nil,
		"headersSize": isNumber, "bodySize": isNumber, "comment": isText,
	}
	responseChecks = map[string]func([]byte) bool{
		"status": nil, "cookies": nil, "headers": nil, "content": nil,
		"statusText": isText, "httpVersion": isText, "redirectURL": isText, "comment": isText,
		"headersSize": isNumber, "bodySize": isNumber, "_transferSize": isNumber, "_serviceWorkerRouterRuleIdMatched": isNumber,
	}
)

func isNumber(value []byte) bool {
	return len(value) > 0 && (value[0] == '-' || '0' <= value[0] && value[0] <= '9') && json.Unmarshal(value, new(float64)) == nil
}

func isText(value []byte) bool   { return bytes.HasPrefix(value, []byte(`"`)) }
func isObject(value []byte) bool { return bytes.HasPrefix(value, []byte("{")) }

// areTimings reports whether all timings are numbers, and the ones that HAR demands are there.
func areTimings(value []byte) bool {
	demanded := map[string]bool{"send": true, "wait": true, "receive": true}
	numbers := true
	err := recording.EachMember(value, recording.MaxMembers, func(name string, value []byte) error {
		delete(demanded, name)
		numbers = numbers && (name == "comment" || isNumber(value))
		return nil
	})
	return err == nil && isObject(value) && numbers && len(demanded) == 0
}

// isInitiator reports whether Chromium can read a value as the initiator of a request.
func isInitiator(value []byte) bool {
	type stack struct {
		CallFrames []struct{ LineNumber, ColumnNumber float64 }
		Parent     *stack
	}
	return isObject(value) && json.Unmarshal(value, &struct {
		LineNumber float64
		Stack      *stack
	}{}) == nil
}

// take removes the member with a name from all, and returns its value, or otherwise if there is
// none.
func take(all *[]recording.Member, name string, otherwise []byte) []byte {
	at := slices.IndexFunc(*all, func(m recording.Member) bool { return m.Name == name })
	if at < 0 {
		return otherwise
	}
	value := (*all)[at].Value
	*all = slices.Delete(*all, at, at+1)
	return value
}

// rest writes the members that were not taken.
func (o *object) rest(all []recording.Member) {
	for _, m := range all {
		o.raw(m.Name, m.Value)
	}
}
