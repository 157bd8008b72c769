package recording

import "testing"

// A reused record keeps nothing of its old content. A leftover tag would keep the memory alive that it
// shares with others.
func TestReuseKeepsNoTags(t *testing.T) {
	var many, few Exchange
	for _, name := range []string{"a", "b", "c", "d"} {
		many.Tags.Set(name, "of the first")
	}
	few.Tags.Set("a", "of the second")
	d := Decoder{Reuse: true}
	e := new(Exchange)
	for _, from := range []*Exchange{&many, &few} {
		if err := d.Decode(from.AppendJSON(nil), e); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.Tags) != 1 {
		t.Fatalf("%v", e.Tags)
	}
	for _, tag := range e.Tags[1:cap(e.Tags)] {
		if tag != (Tag{}) {
			t.Errorf("%v is kept", tag)
		}
	}
}
