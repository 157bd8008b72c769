package carry

import (
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Pair is a value that the recorded response issued, and the live one that stands for it.
type Pair struct{ Recorded, Live string }

// Pairs returns those of a step's response, which was given to [State.Answered] just
// before. Values that the live response does not have are left out.
func (s *State) Pairs(step int, recorded *recording.Exchange) (all []Pair) {
	g := s.g
	from, to := g.issuesAt[step], g.issuesAt[step+1]
	wanted := g.issues[from:to]
	had := make([]string, len(wanted))
	w := s.walkers.Get().(*walker)
	w.visit = func(text string) string {
		if place := w.place(false); place != none {
			for i := range wanted {
				if wanted[i].place != place || had[i] != "" {
					continue
				}
				if value, ok := forms[wanted[i].form].take(text); ok {
					had[i] = strings.Clone(value)
				}
			}
		}
		return text
	}
	w.response(recorded)
	w.visit = nil
	s.walkers.Put(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range wanted {
		if v, ok := s.live[from+uint32(i)]; ok && !v.missing && had[i] != "" {
			all = append(all, Pair{had[i], v.text})
		}
	}
	return all
}
