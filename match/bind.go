package match

import "github.com/tapedeck/tapedeck/match/class"

// Bind returns the values at masked places that differ between a recorded request and the live
// request that gets its answer, as pairs. Where the response repeats the recorded value, it should
// have the live value instead. In a later request, the live value stands for the recorded one.
func (m *Matcher) Bind(recorded, live *Request) []Binding {
	var all []Binding
	at := make(map[key]int)
	for i := range recorded.k.leaves {
		if l := &recorded.k.leaves[i]; l.text != (span{}) {
			at[l.path] = i
		}
	}
	for i := range live.k.leaves {
		l := &live.k.leaves[i]
		if l.text == (span{}) {
			continue
		}
		j, ok := at[l.path]
		if !ok {
			continue
		}
		r := &recorded.k.leaves[j]
		if r.exact == l.exact || r.Class != l.Class || l.Class == class.Token {
			continue
		}
		all = append(all, Binding{
			Place: live.k.string(l.name), Class: l.Class.String(),
			Recorded: recorded.k.string(r.text), Live: live.k.string(l.text),
		})
	}
	return all
}
