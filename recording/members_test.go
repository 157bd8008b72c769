package recording

import (
	"encoding/json"
	"strings"
	"testing"
)

// A string reads the same as with encoding/json, and a lost part is reported.
func TestUnquote(t *testing.T) {
	for _, c := range []struct {
		part, want string
		exact      bool
	}{
		{`""`, "", true},
		{`"plain, and longer than a word"`, "plain, and longer than a word", true},
		{`"héllo é \"q\" \\ \/ \b\f\n\r\t"`, "héllo é \"q\" \\ / \b\f\n\r\t", true},
		{`"\u0123\u4567\u89ab\ucdef\uABCD\u00Ef\u0F0f"`, "\u0123\u4567\u89ab\ucdef\uabcd\u00ef\u0f0f", true},
		{`"\ud83d\udc35"`, "🐵", true},
		{`"\ufffd �"`, "\ufffd \ufffd", true},
		{`"\ud83d"`, "\ufffd", false},
		{`"\udc35\ud83dx"`, "\ufffd\ufffdx", false},
		{"\"\xff\xff\"", "\ufffd\ufffd", false},
	} {
		got, exact, err := Unquote([]byte(c.part))
		if got != c.want || exact != c.exact || err != nil {
			t.Errorf("%s is %q, exact %v, %v; want %q, %v", c.part, got, exact, err, c.want, c.exact)
		}
	}
	for _, part := range []string{"", `"`, "7", "null\x00", `{"a":1}`, `"\x"`, `"\u12"`, `"\u00/0"`, `"\u00:0"`, `"\u00@0"`, `"\u00G0"`, `"\u00g0"`, "\"\\u00`0\"", `"\"`} {
		if got, _, err := Unquote([]byte(part)); err == nil {
			t.Errorf("%q is %q, want an error", part, got)
		}
	}
}

func TestDepth(t *testing.T) {
	for text, want := range map[string]int{
		`7`: 0, `"[{"`: 0, `{}`: 1, `[[],{"a":[1]},"\"[[[["]`: 3, `{"long enough for words \\":["a [ in a string"]}`: 2,
		`["a`: 1, `{"`: 1, `"\`: 0, // not JSON
		strings.Repeat("[", 600) + strings.Repeat("]", 600): 600,
	} {
		if got := Depth([]byte(text)); got != want {
			t.Errorf("%.60s: %d, want %d", text, got, want)
		}
	}
}

func TestMembersAreBounded(t *testing.T) {
	none := func([]byte) error { return nil }
	for n := range 3 {
		object := "{" + strings.TrimSuffix(strings.Repeat(`"a":1,`, n), ",") + "}"
		array := "[" + strings.TrimSuffix(strings.Repeat(`1,`, n), ",") + "]"
		for most := range 3 {
			if err := EachMember([]byte(object), most, func(string, []byte) error { return nil }); (err != nil) != (n > most) {
				t.Errorf("%s, of at most %d: %v", object, most, err)
			}
			if err := EachElement([]byte(array), most, none); (err != nil) != (n > most) {
				t.Errorf("%s, of at most %d: %v", array, most, err)
			}
		}
	}
}

// FuzzMembers checks that any JSON reads the same as with encoding/json.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"}"],"b\"":{"c":null}}`, `["\ud83d",[2.5e3],"a text that is longer than a word, \\"]`, ` "\u00e9" `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want any
		if json.Unmarshal(text, &want) != nil {
			return
		}
		read(t, text, want, Depth(text))
	})
}

func read(t *testing.T, part []byte, want any, depth int) {
	n := 0
	switch want := want.(type) {
	case map[string]any:
		last := map[string][]byte{} // a name may occur several times
		if err := EachMember(part, len(part), func(name string, value []byte) error { last[name] = value; return nil }); err != nil || len(last) != len(want) {
			t.Fatalf("%s: %d members, %v", part, len(last), err)
		}
		for name, value := range last {
			read(t, value, want[name], depth-1)
		}
	case []any:
		if err := EachElement(part, len(part), func(value []byte) error {
			read(t, value, want[n], depth-1)
			n++
			return nil
		}); err != nil || n != len(want) {
			t.Fatalf("%s: %d elements, %v", part, n, err)
		}
	case string:
		if got, _, err := Unquote(trim(part)); got != want || err != nil {
			t.Fatalf("%s is %q, %v; want %q", part, got, err, want)
		}
	}
	if depth < 0 {
		t.Fatalf("%s is deeper than Depth says", part)
	}
}

func trim(part []byte) []byte { return []byte(strings.TrimSpace(string(part))) }
