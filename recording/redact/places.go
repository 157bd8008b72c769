package redact

import (
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording/fieldpath"
)

const (
	// maxPlaces is how many places of secrets an exchange lists.
	maxPlaces = 32
	// maxSteps is how many steps the path of a place may have.
	maxSteps = 32
	// maxStep is how long a name in a path may be. A longer or random name is left out, because it may
	// be a secret itself.
	maxStep = 64
)

// places lists where secrets were, as paths of package fieldpath, each once.
type places struct{ paths []string }

// add adds a path.
func (p *places) add(path []byte) {
	if len(p.paths) > maxPlaces {
		return
	}
	for _, have := range p.paths {
		if have == string(path) {
			return
		}
	}
	if len(p.paths) == maxPlaces {
		path = []byte("**")
	}
	p.paths = append(p.paths, string(path))
}

// target adds the places in a request's target that have tokens.
func (p *places) target(uri string) {
	rest, fragment, _ := strings.Cut(uri, "#")
	rest, query, _ := strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 && strings.Contains(rest[:i], Prefix) {
		p.add([]byte("req.userinfo"))
		rest = rest[i:]
	}
	if strings.Contains(rest, Prefix) {
		p.add([]byte("req.path"))
	}
	if strings.Contains(fragment, Prefix) {
		p.add([]byte("req.fragment"))
	}
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		if name, value, _ := strings.Cut(pair, "="); strings.Contains(value, Prefix) {
			p.add(appendStep([]byte("req.query"), formText(name)))
		}
	}
}

// list returns the value of the tag, or "" if there are no places.
func (p *places) list() string {
	slices.Sort(p.paths)
	return strings.Join(p.paths, ",")
}

// appendStep appends the name of a member to a path.
func appendStep(path []byte, name string) []byte {
	if len(name) > maxStep || isLong(name) || looksRandom(name) || hasKnown(name) {
		return append(path, ".*"...)
	}
	return fieldpath.AppendName(path, name)
}

// isLong reports whether a name is a long number, such as an ID.
func isLong(name string) bool {
	return len(name) >= minRandom/2 && strings.Trim(name, "0123456789-") == ""
}
