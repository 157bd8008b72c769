package match

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/recording"
)

// Pair is one key of a signature and its value.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Signature returns the compared parts of the request under the names of the ecosystem's tools:
// http:method, http:host (without port), http:url (the path), http:queryparams (all of them) and
// http:queryparams:NAME, and the body in canonical form. It is for explanations, and for
// comparing with recorded signatures. Lookups don't use it.
func (r *Request) Signature() []Pair {
	var all []Pair
	add := func(name, value string) { all = append(all, Pair{name, value}) }
	path := joinPath(r.Path)
	switch r.Protocol {
	case recording.TCP:
		add("tcp:host", r.Host)
		add("tcp:port", r.Port)
		if len(r.body) > 0 {
			add("tcp:opening", hashOf(r.body))
		}
		return all
	case recording.GRPC:
		add("grpc:host", r.Host)
		if service, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"); ok {
			add("grpc:service", service)
			add("grpc:method", method)
		}
		if len(r.body) > 0 {
			add("grpc:message", show(&node{kind: canon.Bytes, value: r.canonical()}))
		}
		return all
	}
	add("http:method", r.Method)
	add("http:host", r.Host)
	add("http:url", path)
	query := rawQuery(r.e)
	text, _ := canon.Form.Append(nil, []byte(query), canon.Params{})
	add("http:queryparams", string(text))
	for pair := range strings.SplitSeq(string(text), "&") {
		if name, value, _ := strings.Cut(pair, "="); pair != "" {
			add("http:queryparams:"+unescape(name), unescape(value))
		}
	}
	for _, s := range selecting {
		if v := r.e.HTTP.Req.Headers.Get(s.name); v != "" {
			add("http:header:"+s.lower, v)
		}
	}
	if len(r.body) > 0 {
		if i := slices.IndexFunc(bodyNames[:], func(n bodyName) bool { return n.format == r.format }); i >= 0 && !r.cut {
			add(bodyNames[i].name, string(r.canonical()))
		} else {
			add("http:requestBodyHash", hashOf(r.body))
		}
	}
	return all
}

type bodyName struct {
	format canon.Format
	name   string
}

// bodyNames are the keys of bodies by format. Bodies of other formats are hashed.
var bodyNames = [...]bodyName{
	{canon.JSON, "http:requestBodyJSON"}, {canon.GraphQL, "http:requestBodyJSON"}, {canon.JSONLines, "http:requestBodyJSON"},
	{canon.XML, "http:requestBodyXML"}, {canon.Form, "http:requestBodyForm"}, {canon.Document, "http:requestBodyGraphQL"},
}

func (r *Request) canonical() []byte {
	text, err := r.format.Append(nil, r.body, r.params)
	if err != nil {
		return bytes.Clone(r.body)
	}
	return text
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
