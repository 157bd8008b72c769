// Package splice carries an edit of a YAML document's nodes back to its text.
//
// A YAML printer re-flows what it prints, so whoever edits the nodes of a
// manifest and prints them loses indentation, quoting, blank lines and the
// place of comments. Splice leaves the printer out: it walks the document as
// written and the tree as wanted side by side, and cuts and pastes only the
// bytes that differ.
//
//	text ──Parse──▶ have ──Expand──▶ tree ──caller edits──▶ want
//	  │              │                                        │
//	  │              └──────────── walk together ─────────────┘
//	  │                                  │ cuts: [start,end) → bytes
//	  └────────────── splice ◀───────────┘
//	                    │
//	                    └──▶ result ──Parse, Expand──▶ Equal to want?
//
// It promises:
//
//   - What it returns was parsed again and is [Equal] to what was wanted, or
//     it returns an error.
//   - JSON stays JSON.
//   - Bytes outside the changed values stay: comments, key order, quoting,
//     blank lines, line ends, byte order mark.
//   - Taking away what an edit added gives the former bytes back. See [Apply]
//     for what a caller keeps so that a replaced value comes back as well.
//   - Time and memory are linear in the size of the text.
//
// It imports kyaml's yaml package, whose nodes it works on, and the standard
// library. It holds no state and is safe for concurrent use.
package splice

import (
	"bytes"
	"errors"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A Spelling prescribes the bytes by which a node of the wanted tree is
// written, where its value and style don't determine them: `~` for a null,
// `[ ]`, "\u0041", a folded text, an alias. That of a mapping's key prescribes
// those of a new pair. The token is one that [Tokens] gave for an earlier text
// of the same document.
type Spelling struct {
	Node  *yaml.Node
	Token string
}

// rounds bounds how often Apply looks at its own result. One round is the
// rule; the second mends what a neighbour's edit changed in passing.
const rounds = 3

// Apply returns text changed so that Expand(Parse(result)) is Equal to want,
// touching as few lines as it can. have is Parse(text), unedited. want is a
// tree as Expand returns it: aliases in it are expanded first, anchors ignored.
// Neither tree is changed.
//
// A want node's Style is how a new or changed value is written, where the
// value can be written so. A changed scalar whose Style is zero keeps the
// quoting of the scalar in its place. Empty collections are written `{}` and
// `[]`, a null as its Value (nothing, `~` or `null`). A [Spelling] overrules
// all of that.
//
// The undo of an edit is Apply with the former tree. It gives the former text
// back byte for byte if the edit only added entries, if it changed scalars,
// empty collections, aliases and flow collections whose tokens the caller
// hands in as Spellings, or if it put another pair in the place of one whose
// token he does. The exceptions:
//
//   - what else the edit deleted comes back in the document's habitual layout,
//     without its comments; so may items of a list that have no name or other
//     identity, if the edit changed or added several;
//   - a document that was nothing but a value comes back on a line of its own,
//     and may lose the comment on it;
//   - what an edit made JSON, such as `{"a": ~}`, is not given a spelling back that
//     JSON lacks;
//   - a key that stood without a colon, behind `?` or in brackets, keeps the
//     one that it got with a value;
//   - a comment that followed a value without a space keeps the one it got;
//   - the tag `!` alone, of which the parser doesn't tell, goes with its value;
//   - beside a merge key, a pair that an edit of the merged mapping made
//     explicit stays, and a pair that repeated what the merge brings is
//     dropped by the undo of a change to it;
//   - a changed block scalar takes lines of blanks behind it along.
//
// Should the result of the splices not verify, the document is encoded anew,
// below its leading comments and `---`, and reformatted is true.
func Apply(text []byte, have, want *yaml.Node, spellings ...Spelling) (out []byte, reformatted bool, err error) {
	have, want = content(have), content(want)
	if want == nil {
		if have == nil {
			return text, false, nil
		}
		return nil, false, errors.New("splice: the wanted tree is empty, but the document has content")
	}
	if want, err = expanded(want, &spellings); err != nil {
		return nil, false, fmt.Errorf("splice: wanted tree: %w", err)
	}
	if have == nil {
		return create(text, want)
	}
	tokens := make(map[*yaml.Node]string, len(spellings))
	for _, s := range spellings {
		tokens[s.Node] = s.Token
	}
	for range rounds {
		next, tree, err := patch(text, have, want, tokens)
		switch {
		case err == nil && verifies(tree, want):
			return next, false, nil
		case err == nil && tree != have:
			text, have = next, tree
		case len(tokens) == 0:
			// Nothing was gained, and there is nothing left to try.
			return encode(text, have, want)
		}
		tokens = nil // a token that doesn't fit must not spoil the value
	}
	return encode(text, have, want)
}

// patch makes one round of splices, and parses what comes out: text and have
// themselves if there was nothing to cut.
func patch(text []byte, have, want *yaml.Node, tokens map[*yaml.Node]string) ([]byte, *yaml.Node, error) {
	whole, eol := ended(text), lineEnding(text)
	root, err := measure(whole, have)
	if err != nil {
		return nil, nil, err
	}
	w := newWalk(whole, eol, root, tokens)
	w.node(root, want, rootSlotOf(whole, root), w.habits)
	w.settle()
	out, err := w.cuts.apply(whole)
	if err != nil {
		return nil, nil, err
	}
	if len(whole) != len(text) {
		out = bytes.TrimSuffix(out, []byte(eol))
	}
	if bytes.Equal(out, text) {
		return text, have, nil
	}
	tree, err := Parse(out)
	if err == nil && (tree == nil || IsJSON(text) && !IsJSON(out)) {
		err = errLost
	}
	return out, tree, err
}

// create appends a document to a text that has none: comments, or nothing.
func create(text []byte, want *yaml.Node) ([]byte, bool, error) {
	eol := lineEnding(text)
	out := bytes.Clone(text)
	if lineStart(text, len(text)) != len(text) {
		out = append(out, eol...)
	}
	r := renderer{}
	out = append(out, r.document(want, defaultLayout(eol))...)
	out = append(out, eol...)
	if tree, err := Parse(out); err != nil || !verifies(tree, want) {
		return nil, false, errors.New("splice: the wanted tree can't be written as YAML: it parses to another tree")
	}
	return out, false, nil
}

// encode is the last resort: the document by the YAML encoder, below what
// stood above the old one.
func encode(text []byte, have, want *yaml.Node) ([]byte, bool, error) {
	var head []byte
	compact, eol := true, lineEnding(text)
	if root, err := measure(ended(text), have); err == nil {
		head = bytes.TrimRight(text[:min(root.start, len(text))], " \t")
		if len(head) > 0 && lineStart(head, len(head)) != len(head) {
			head = append(head[:len(head):len(head)], eol...)
		}
		compact = newWalk(ended(text), eol, root, nil).habits.seq == 0
	}
	if IsJSON(text) {
		out := (renderer{}).flow(want, layout{json: true, comma: ",", colon: ":"})
		return append([]byte(out), eol...), true, nil
	}
	bare := uncommented(want)
	var buf bytes.Buffer
	buf.Write(head)
	enc := yaml.NewEncoder(&buf)
	if !compact {
		enc.DefaultSeqIndent()
	}
	if err := enc.Encode(bare); err != nil {
		return nil, false, fmt.Errorf("splice: encode the wanted tree: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, false, fmt.Errorf("splice: encode the wanted tree: %w", err)
	}
	tree, err := Parse(buf.Bytes())
	if err != nil || !verifies(tree, want) {
		return nil, false, errors.New("splice: the wanted tree can't be written as YAML: it parses to another tree")
	}
	return buf.Bytes(), true, nil
}

// verifies reports whether a parsed tree means what is wanted.
func verifies(tree, want *yaml.Node) bool {
	tree, err := expanded(tree, nil)
	return err == nil && tree != nil && Equal(tree, want)
}
