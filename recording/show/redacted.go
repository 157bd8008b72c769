package show

import (
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// places are where secrets were replaced.
type places []fieldpath.Path

// maxPlaces is how many places are told apart. A recording names a place once, and each field is
// looked up in all of them.
const maxPlaces = 1000

// redactedPlaces are those that an exchange's tag lists.
func redactedPlaces(e *recording.Exchange) places {
	text := e.Tags.Get(recording.TagRedacted)
	if text == "" {
		return nil
	}
	all, err := fieldpath.ParseList(text)
	if err != nil { // it says that there are some
		return places{{{Kind: fieldpath.Anything}}}
	}
	if len(all) > maxPlaces {
		all = append(all[:maxPlaces], fieldpath.Path{{Kind: fieldpath.Anything}})
	}
	return all
}

// sideWords are how paths begin.
var sideWords = map[string]string{"req": "the request's", "res": "the answer's", recording.Client: "the client's", recording.Server: "the server's"}

// words says where they are, for people.
func (all places) words() string {
	var words []string
	for _, p := range all {
		side, ok := sideWords[name(p, 0)]
		switch {
		case len(p) == 1 && p[0].Kind == fieldpath.Anything:
			words = append(words, "other places")
		case !ok || len(p) < 2:
			words = append(words, p.String())
		case len(p) == 2:
			words = append(words, side+" "+p[1:].String())
		default:
			words = append(words, side+" "+p[1:2].String()+" "+p[2:].String())
		}
	}
	return strings.Join(words, ", ")
}

// name is that of a step, "" if it is not the member with a name.
func name(p fieldpath.Path, at int) string {
	if at >= len(p) || p[at].Kind != fieldpath.Member {
		return ""
	}
	return p[at].Name
}

// of returns those of the request or of the answer, from behind its name.
func (all places) of(side string) (of places) {
	for _, p := range all {
		if name(p, 0) == side {
			of = append(of, p[1:])
		}
	}
	return of
}

// has reports whether the value of a field was replaced.
func (all places) has(kind, field string) bool {
	for _, p := range all {
		if name(p, 0) == kind && strings.EqualFold(name(p, 1), field) && field != "" {
			return true
		}
	}
	return false
}

// in returns has for a kind.
func (all places) in(kind string) func(field string) bool {
	return func(field string) bool { return all.has(kind, field) }
}
