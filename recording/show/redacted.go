package show

import (
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

// places lists where secrets were replaced.
type places []fieldpath.Path

// maxPlaces limits the number of places, because each field is looked up in all of them. Tapedeck lists
// each place once.
const maxPlaces = 1000

// redactedPlaces returns the places that an exchange's tag lists.
func redactedPlaces(e *recording.Exchange) places {
	text := e.Tags.Get(recording.TagRedacted)
	if text == "" {
		return nil
	}
	all, err := fieldpath.ParseList(text)
	if err != nil { // the tag exists, so some values were redacted
		return places{{{Kind: fieldpath.Anything}}}
	}
	if len(all) > maxPlaces {
		all = append(all[:maxPlaces], fieldpath.Path{{Kind: fieldpath.Anything}})
	}
	return all
}

// sideWords explains the first names of paths.
var sideWords = map[string]string{"req": "the request's", "res": "the answer's", recording.Client: "the client's", recording.Server: "the server's"}

// words describes the places for people.
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

// name returns the name of a step, or "" if the step has none.
func name(p fieldpath.Path, at int) string {
	if at >= len(p) || p[at].Kind != fieldpath.Member {
		return ""
	}
	return p[at].Name
}

// of returns the places in the request or in the answer, without their first step.
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

// in returns a function that calls has for this kind.
func (all places) in(kind string) func(field string) bool {
	return func(field string) bool { return all.has(kind, field) }
}
