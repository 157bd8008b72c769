package canon_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"github.com/tapedeck/tapedeck/match/canon"
)

// value is a JSON value that can be written in many ways. It is built from what the reader found,
// and printed independently.
type value struct {
	kind    canon.Kind
	text    []byte
	members []member
	items   []*value
}

type member struct {
	name  []byte
	value *value
}

type values struct {
	root value
	open []*value
}

func parse(body []byte) *value {
	var v values
	v.open = []*value{&v.root}
	if err := canon.JSON.Walk(body, canon.Params{}, &v); err != nil {
		panic(err)
	}
	return &v.root
}

func (v *values) Enter(s canon.Step) {
	top, child := v.open[len(v.open)-1], new(value)
	if s.Axis == canon.Item {
		top.items = append(top.items, child)
	} else {
		top.members = append(top.members, member{bytes.Clone(s.Name), child})
	}
	v.open = append(v.open, child)
}

func (v *values) Leave() { v.open = v.open[:len(v.open)-1] }

func (v *values) Leaf(k canon.Kind, text []byte) {
	top := v.open[len(v.open)-1]
	top.kind, top.text = k, bytes.Clone(text)
}

// print writes the value with its members shuffled, all or no characters escaped, and white space.
func (v *value) print(dst []byte, r *rand.Rand) []byte {
	space := func(dst []byte) []byte { return append(dst, []string{"", " ", "\n\t"}[r.IntN(3)]...) }
	switch {
	case v.items != nil:
		dst = append(dst, '[')
		for i, item := range v.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = space(item.print(space(dst), r))
		}
		return append(dst, ']')
	case v.members != nil:
		dst = append(dst, '{')
		for i, j := range shuffled(v.members, r) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = space(quote(space(dst), v.members[j].name, r.IntN(2) == 0))
			dst = v.members[j].value.print(space(append(dst, ':')), r)
		}
		return append(dst, '}')
	case v.kind == canon.Text:
		return quote(dst, v.text, r.IntN(2) == 0)
	case v.kind == canon.Object:
		return append(space(append(dst, '{')), '}')
	case v.kind == canon.Array:
		return append(space(append(dst, '[')), ']')
	}
	return append(dst, v.text...)
}

// shuffled returns an order of the members in which members with the same name keep their order.
func shuffled(all []member, r *rand.Rand) []int {
	order := r.Perm(len(all))
	at := map[string][]int{}
	for _, j := range order {
		at[string(all[j].name)] = append(at[string(all[j].name)], j)
	}
	next := map[string]int{}
	for i, j := range order {
		name := string(all[j].name)
		same := at[name]
		least := -1 // the next one of this name
		for _, k := range same {
			if k >= next[name] && (least < 0 || k < least) {
				least = k
			}
		}
		order[i] = least
		next[name] = least + 1
	}
	return order
}

func quote(dst, s []byte, escape bool) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == 0xed && i+2 < len(s) && s[i+1] >= 0xa0:
			dst = fmt.Appendf(dst, `\u%04X`, uint(c&0x0f)<<12|uint(s[i+1]&0x3f)<<6|uint(s[i+2]&0x3f))
			i += 2
		case c < ' ' || c == '"' || c == '\\' || escape && c < 0x80:
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// change returns the value with another scalar in one place, or nil if it has none.
func (v *value) change(seed uint64) []byte {
	all := v.scalars(nil)
	if len(all) == 0 {
		return nil
	}
	one := all[seed%uint64(len(all))]
	before := *one
	defer func() { *one = before }()
	switch one.kind {
	case canon.Number:
		one.text = append([]byte{'7'}, bytes.TrimLeft(one.text, "-")...)
		if bytes.HasPrefix(one.text, []byte("70")) { // 0 may be followed by a point alone
			one.kind, one.text = canon.Text, nil
		}
	default:
		one.kind, one.text = canon.Text, append([]byte("x"), one.text...)
	}
	return v.print(nil, rand.New(rand.NewPCG(seed, 2)))
}

func (v *value) scalars(all []*value) []*value {
	for _, m := range v.members {
		all = m.value.scalars(all)
	}
	for _, i := range v.items {
		all = i.scalars(all)
	}
	if v.members == nil && v.items == nil {
		all = append(all, v)
	}
	return all
}
