// Package splice applies an edit of a YAML document's nodes to its text.
//
// A YAML printer reformats the document, so printing edited nodes loses indentation, quoting, blank
// lines and the positions of comments. Splice does not print. It walks the document as written and the
// wanted tree side by side, and replaces only the bytes that differ.
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
//   - The result was parsed again and is [Equal] to the wanted tree, or Apply returns an
//     error.
//   - JSON remains JSON.
//   - Bytes outside the changed values are preserved: comments, key order, quoting,
//     blank lines, line breaks, byte order mark.
//   - Removing what an edit added restores the former bytes. [Apply] says
//     what a caller must keep to restore a replaced value as well.
//   - Time and memory are linear in the size of the text.
//
// It imports kyaml's yaml package, whose nodes it uses, and the standard library. It holds no state
// and is safe for concurrent use.
package splice

import (
	"bytes"
	"errors"
	"fmt"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// A Spelling prescribes the bytes of a node in the wanted tree, if its value and style don't determine
// them: `~` for a null, `[ ]`, "\u0041", a folded text, an alias. The Spelling of a mapping's key
// prescribes the bytes of a new pair. The token must come from [Tokens] of an earlier text of the same
// document.
type Spelling struct {
	Node  *yaml.Node
	Token string
}

// rounds limits how often Apply checks its own result. Usually one round is enough. The second one
// corrects side effects of a neighbour's edit.
const rounds = 3

// Apply returns text changed so that Expand(Parse(result)) is Equal to want, and changes as few lines
// as possible. have is Parse(text), unedited. want is a tree as Expand returns it: Apply first expands
// its aliases, and ignores its anchors. It changes neither tree.
//
// A new or changed value is written in the Style of its want node, if the value allows that. A changed
// scalar whose Style is zero keeps the quoting of the scalar that it replaces. Empty collections are
// written `{}` and `[]`, a null as its Value (nothing, `~` or `null`). A [Spelling] overrides all of
// that.
//
// To undo an edit, call Apply with the former tree. It restores the former text byte for byte if the
// edit only added entries; if it changed scalars, empty collections, aliases and flow collections
// whose tokens the caller passes as Spellings; or if it replaced a pair whose token the caller passes.
// The exceptions:
//
//   - other content that the edit deleted is restored in the document's usual layout,
//     without its comments; the same may happen to items of a list without a name or other
//     identity, if the edit changed or added several;
//   - a document that was only a value is restored on a separate line,
//     and may lose the comment on it;
//   - a value that an edit turned into JSON, such as `{"a": ~}`, does not get back a spelling that
//     JSON lacks;
//   - a key without a colon, after `?` or in brackets, keeps the
//     colon that it got with a value;
//   - a comment that followed a value without a space keeps the space that it got;
//   - the tag `!` alone, which the parser doesn't report, is removed with its value;
//   - next to a merge key, a pair that an edit of the merged mapping made
//     explicit remains, and the undo of a change to a pair drops
//     the pair if it repeated a merged one;
//   - a changed block scalar includes the blank lines after it.
//
// If the result of the splices does not verify, Apply encodes the document again, below its leading
// comments and `---`, and reformatted is true.
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
			// The round changed nothing, and there is nothing left to try.
			return encode(text, have, want)
		}
		tokens = nil // a token that doesn't fit must not spoil the value
	}
	return encode(text, have, want)
}

// patch makes one round of splices, and parses the result. It returns text and have themselves if
// there was nothing to cut.
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

// encode is the last resort: it writes the document with the YAML encoder, and keeps only the text
// before the root.
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

// verifies reports whether a parsed tree means the same as the wanted one.
func verifies(tree, want *yaml.Node) bool {
	tree, err := expanded(tree, nil)
	return err == nil && tree != nil && Equal(tree, want)
}
