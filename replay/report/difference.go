package report

import (
	"github.com/tapedeck/tapedeck/match"
)

// kinds maps each kind of difference to a word for it.
var kinds = map[match.Kind]string{
	match.ValueChanged: "changed",
	match.FieldAdded:   "added",
	match.FieldRemoved: "removed",
	match.OrderChanged: "order",
	match.TypeChanged:  "type changed",
}

// absent is shown for a side that does not have the place.
const absent = "(absent)"

func (e Example) recorded() string {
	if e.Kind == match.FieldAdded {
		return absent
	}
	return typed(e.Recorded, e.RecordedType)
}

func (e Example) live() string {
	if e.Kind == match.FieldRemoved {
		return absent
	}
	return typed(e.Live, e.LiveType)
}

// typed returns a value with its type, if the types differ.
func typed(value, as string) string {
	if as == "" {
		return value
	}
	return value + " (" + as + ")"
}
