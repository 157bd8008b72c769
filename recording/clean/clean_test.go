package clean

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	const visible = `/cart?a=1&b=2 "C:\new" 日本語 Ünïcödé עברית العربية 🎉 − ½`
	for in, want := range map[string]string{
		visible:                        visible,
		"a\tb\x1b[0m\u202e\xffc":       `a\tb\x1b[0m\u202e\xffc`,
		"a\u200bb\u00a0c\ufe0fd\u2028": `a\u200bb\u00a0c\ufe0fd\u2028`,
	} {
		if got := Text(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got, want := Lines("a\tb\r\nc\x00\n\rd"), "a        b\nc\\x00\n\\rd"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestIsText(t *testing.T) {
	for in, want := range map[string]bool{
		"":                                      true,
		"one\ttwo\r\n":                          true,
		"日本語"[:len("日本語")-1]:                    true, // cut within a character
		strings.Repeat("text ", 10) + "\x1b[0m": true,
		"\x1b\x1b":                              false,
		"a\x00b":                                false,
		"\xff\xfe\x00 and some more":            false,
		strings.Repeat("a", 4<<10) + "\x00\xff\x01": true, // its beginning is text
	} {
		if got := IsText([]byte(in)); got != want {
			t.Errorf("%.40q: %v, want %v", in, got, want)
		}
	}
}

// compactJSON removes the white space from a sequence of JSON texts.
func compactJSON(src []byte) ([]byte, error) {
	var b bytes.Buffer
	for d := json.NewDecoder(bytes.NewReader(src)); ; b.WriteByte('\n') {
		var one json.RawMessage
		if err := d.Decode(&one); err == io.EOF {
			return b.Bytes(), nil
		} else if err != nil {
			return nil, err
		}
		if err := json.Compact(&b, one); err != nil {
			return nil, err
		}
	}
}

// Indented JSON differs from the original only in white space, and in escapes of invisible
// characters.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{"", `{"a":[1,{"b":"é\u202e"},null],"c":-1.5e3,"d":{},"e":[]}`, "1 2\n[3]", `{"a":1,"a":"\ud800"}`, "[1,]", `"\x7f"`} {
		f.Add([]byte(text))
	}
	f.Add([]byte(strings.Repeat("[", 200) + strings.Repeat("]", 200)))
	f.Fuzz(func(t *testing.T, src []byte) {
		if !utf8.Valid(src) || bytes.HasPrefix(src, []byte("\ufeff")) || bytes.IndexByte(src, recordSeparator) >= 0 {
			return
		}
		got, used, err := IndentJSON(src, 1<<30)
		if err != nil {
			if json.Valid(src) {
				t.Fatalf("%q: %v", src, err)
			}
			return
		}
		want, err := compactJSON(src)
		if err != nil {
			if strings.Contains(err.Error(), "depth") {
				return
			}
			t.Fatalf("it was indented, but is not JSON: %v: %q", err, src)
		}
		text, err := compactJSON(got)
		if err != nil || !bytes.Equal(text, cleanTexts(want)) || used != len(src) {
			t.Errorf("%q became %q (%v), %d of %d bytes", want, text, err, used, len(src))
		}
	})
}

func cleanTexts(lines []byte) (all []byte) {
	for line := range bytes.Lines(lines) {
		all = append(append(all, JSON(bytes.TrimSuffix(line, []byte("\n")))...), '\n')
	}
	return all
}

func TestCutJSONIsIndentedUpToTheCut(t *testing.T) {
	const whole = `{"a":[1,{"b":"text é"},null],"c":-1.5e3}`
	for n := range len(whole) {
		text, used, err := IndentJSON([]byte(whole[:n]), 1<<20)
		if !errors.Is(err, io.ErrUnexpectedEOF) || used != n {
			t.Errorf("%s: %v, %d bytes", whole[:n], err, used)
		}
		if n > 0 && !strings.HasPrefix(string(text), "{") {
			t.Errorf("%s became %s", whole[:n], text)
		}
	}
}

// Nesting can't make a body many times as long.
func TestIndentedTextIsBounded(t *testing.T) {
	src := []byte(strings.Repeat("[", 5000) + strings.Repeat("1,", 5000) + "1" + strings.Repeat("]", 5000))
	text, used, err := IndentJSON(src, 1<<30)
	if err != nil || used != len(src) || len(text) > 2*len(src) {
		t.Errorf("%d bytes became %d, %d are used, %v", len(src), len(text), used, err)
	}
	text, used, err = IndentJSON(src, 1<<10)
	if err != ErrLimit || len(text) > 2<<10 || used >= len(src) {
		t.Errorf("%d bytes with a limit of 1 KiB, %d are used, %v", len(text), used, err)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\tb\x1b[0m\u202e\xffc\r\n日本語")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Text(s), strings.ReplaceAll(Lines(s), "\n", "")} {
			for _, r := range got {
				if !Visible(r) {
					t.Errorf("%q became %q", s, got)
				}
			}
			if !utf8.ValidString(got) {
				t.Errorf("%q became %q", s, got)
			}
		}
		if text := Text(s); Text(text) != text {
			t.Errorf("%q became %q, which is not clean", s, text)
		}
	})
}
