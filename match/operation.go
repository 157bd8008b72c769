package match

import (
	"bytes"
	"strings"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/recording"
)

// operation decides whether the request changes anything, and distinguishes operations that share
// an endpoint.
func (r *Request) operation() {
	last := ""
	if len(r.Path) > 0 {
		last = r.Path[len(r.Path)-1]
	}
	if recording.IsSafe(r.Method) {
		r.reads = true
	} else {
		_, verb, custom := strings.Cut(last, ":") // AIP-136: /v1/users:search
		if !custom {
			verb = last
		}
		if name := r.named(); name != "" {
			verb = name
			r.variant = r.k.secret.short([]byte(name))
		}
		r.reads = class.Reads([]byte(strings.TrimLeft(verb, "_")))
	}
	switch r.format {
	case canon.GraphQL:
		document := membersOf(r.format, r.body, "query")
		r.reads = !isMutation(document)
		r.variant = r.k.secret.short(document)
	case canon.Document:
		r.reads = !isMutation(r.body)
		r.variant = r.k.secret.short(r.body)
	case canon.JSON:
		if bytes.Contains(r.body, []byte(`"jsonrpc"`)) {
			r.jsonRPC()
		}
	}
}

// named returns the operation that a header names, such as DynamoDB_20120810.GetItem.
func (r *Request) named() string {
	if r.e.HTTP == nil {
		return ""
	}
	for _, header := range [...]string{"X-Amz-Target", "Soapaction"} {
		if v := strings.Trim(r.e.HTTP.Req.Headers.Get(header), `"`); v != "" {
			return v[strings.LastIndexAny(v, "./#:")+1:]
		}
	}
	return ""
}

func isMutation(document []byte) bool {
	return bytes.HasPrefix(document, []byte("mutation")) || bytes.Contains(document, []byte("}mutation")) || bytes.Contains(document, []byte("\nmutation"))
}

// jsonRPC distinguishes methods, and marks the id of each call. The client chooses this id, and the
// response repeats it.
func (r *Request) jsonRPC() {
	if string(membersOf(canon.JSON, r.body, "jsonrpc")) == "" {
		return
	}
	r.variant = r.k.secret.short(membersOf(canon.JSON, r.body, "method"))
	k := &r.k
	k.begin(canon.JSON.String(), rootPlace(canon.JSON))
	p := picker{name: "id", found: func(item int, kind canon.Kind, value []byte) {
		if item >= 0 {
			k.Enter(canon.Step{Axis: canon.Item, N: item})
		}
		k.Enter(canon.Step{Axis: canon.Member, Name: []byte("id")})
		path := k.levels[len(k.levels)-1].path
		for i := range k.leaves {
			if l := &k.leaves[i]; l.path == path && l.rule == nil {
				l.protocol, l.mask = true, k.secret.any(path)
				l.value, l.name, l.all = k.secret.short(value), k.keep(k.place), k.keep(value)
				l.text = l.all
			}
		}
		k.Leave()
		if item >= 0 {
			k.Leave()
		}
	}}
	canon.JSON.Walk(r.body, canon.Params{}, &p)
}

// membersOf returns the values of a member as text, from the root object or from each object in a
// root array.
func membersOf(f canon.Format, body []byte, name string) []byte {
	var all []byte
	p := picker{name: name, found: func(_ int, _ canon.Kind, value []byte) {
		all = append(append(all, value...), '\n')
	}}
	f.Walk(body, canon.Params{}, &p)
	return bytes.TrimSuffix(all, []byte("\n"))
}

// picker is the visitor of membersOf.
type picker struct {
	name  string
	found func(item int, k canon.Kind, value []byte)

	depth, item int
	here        bool
}

func (p *picker) Enter(s canon.Step) {
	if p.depth == 0 {
		p.item = -1
		if s.Axis == canon.Item {
			p.item = s.N
		}
	}
	p.depth++
	p.here = s.Axis == canon.Member && string(s.Name) == p.name && (p.depth == 1 || p.depth == 2 && p.item >= 0)
}

func (p *picker) Leave() { p.depth--; p.here = false }

func (p *picker) Leaf(k canon.Kind, value []byte) {
	if p.here {
		p.found(p.item, k, value)
	}
}
