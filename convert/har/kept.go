package har

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/tapedeck/tapedeck/recording"
)

// extraMember is, in an exchange, what it can't say of an entry: an object with the entry's
// members, and with those of its request and its response in objects of their names.
const extraMember = "har"

// keepMembers puts what an exchange has no field for into the member har.
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

// kept is what an exchange has of the entry that it was read from.
type kept struct{ entry, request, response []recording.Member }

// keptOf returns what of it an entry may have.
func keptOf(e *recording.Exchange) (k kept) {
	at := slices.IndexFunc(e.Extra, func(m recording.Member) bool { return m.Name == extraMember })
	if at < 0 {
		return k
	}
	read := func(text []byte, checks map[string]func([]byte) bool) (all []recording.Member) {
		_ = recording.EachMember(text, recording.MaxMembers, func(name string, value []byte) error { // what is no object has none
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

// The checks tell which members an entry may have of another one. Browsers refuse all of a log if
// one value is of another type than they expect, so each name that they read has a check; nil for
// those that the exchange says. Members of other names are written whatever they are.
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

// areTimings tells whether all timings are numbers, and those are there that HAR demands.
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

// isInitiator tells whether Chromium can read a value as what caused a request.
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

// take returns the member of a name, or otherwise, and leaves it out of all.
func take(all *[]recording.Member, name string, otherwise []byte) []byte {
	at := slices.IndexFunc(*all, func(m recording.Member) bool { return m.Name == name })
	if at < 0 {
		return otherwise
	}
	value := (*all)[at].Value
	*all = slices.Delete(*all, at, at+1)
	return value
}

// rest writes the members that nobody took.
func (o *object) rest(all []recording.Member) {
	for _, m := range all {
		o.raw(m.Name, m.Value)
	}
}
