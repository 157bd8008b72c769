package rewrite

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"
)

// writings are ways to write a value within a longer text.
var writings = map[string]func(string) string{
	"as it is":          func(v string) string { return v },
	"in capitals":       strings.ToUpper,
	"in a URL":          url.QueryEscape,
	"in a path":         url.PathEscape,
	"in a URL, all":     func(v string) string { return percent(v, "%%%02X") },
	"in small hex":      func(v string) string { return percent(v, "%%%02x") },
	"in a URL, twice":   func(v string) string { return url.QueryEscape(percent(v, "%%%02X")) },
	"in JSON":           func(v string) string { return escaped(v) },
	"in JSON in JSON":   func(v string) string { return strings.ReplaceAll(escaped(v), `\`, `\\`) },
	"in HTML":           html.EscapeString,
	"in HTML, all":      func(v string) string { return each(v, "&#%d;") },
	"in XML, hex":       func(v string) string { return each(v, "&#x%x;") },
	"base64":            func(v string) string { return base64.StdEncoding.EncodeToString([]byte(v)) },
	"base64 of more":    func(v string) string { return base64.StdEncoding.EncodeToString([]byte(`{"a":"` + v + `"}`)) },
	"base64 of more, 1": func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(`x` + v + `??>>`)) },
	"base64 of more, 2": func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(`xy` + v + `~~`)) },
	"base64 after path": func(v string) string { return "/ab/" + base64.RawURLEncoding.EncodeToString([]byte(v)) },
	"base64 twice": func(v string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(v))))
	},
	"base64 in a URL": func(v string) string {
		return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(v + "??>>")))
	},
	"hexadecimal":    func(v string) string { return hex.EncodeToString([]byte(v)) },
	"HEXADECIMAL":    func(v string) string { return strings.ToUpper(hex.EncodeToString([]byte("x" + v))) },
	"packed, base64": func(v string) string { return base64.StdEncoding.EncodeToString(packed(v)) },
	"zlib, base64":   func(v string) string { return base64.StdEncoding.EncodeToString(deflated(v)) },
	"base64 in lines": func(v string) string {
		return lines.ReplaceAllString(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("Dear all, ", 6)+v+", and others")), "$0\r\n")
	},
	"in lines of mail": func(v string) string { return v[:2] + "=\r\n" + v[2:] },
	"in JavaScript": func(v string) string {
		var b strings.Builder
		for _, r := range v {
			if r < 0x100 {
				fmt.Fprintf(&b, `\x%02x`, r)
			} else {
				b.WriteRune(r)
			}
		}
		return b.String()
	},
	"in UTF-16": func(v string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(strings.Repeat("Dear all, ", 9) + v)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	},
	"JSON, in base64": func(v string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"mail":"` + escaped(v) + `"}`))
	},
}

// lines splits a text into lines as MIME does.
var lines = regexp.MustCompile(`.{76}`)

func each(v, format string) string {
	var b strings.Builder
	for _, r := range v {
		fmt.Fprintf(&b, format, r)
	}
	return b.String()
}

func percent(v, format string) string {
	var b strings.Builder
	for i := range len(v) {
		fmt.Fprintf(&b, format, v[i])
	}
	return b.String()
}

func escaped(v string) string {
	var b strings.Builder
	for _, r := range v {
		if r > 0xffff {
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			continue
		}
		fmt.Fprintf(&b, `\u%04X`, r)
	}
	return b.String()
}

func packed(v string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(v))
	w.Close()
	return b.Bytes()
}

func deflated(v string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(v))
	w.Close()
	return b.Bytes()
}

func TestAValueIsFoundHoweverItIsWritten(t *testing.T) {
	for _, value := range []string{"jane.doe@example.com", "Jörg Müßig", "+49 170 555-1234", `a"b\c<d>&e`, "🦜-7788"} {
		f := newFinder([]string{value}, nil)
		byHash := newFinder(nil, [][sha256.Size]byte{sha256.Sum256([]byte(value))})
		for name, write := range writings {
			for _, around := range []string{"%s", `{"x": "%s", "y": 1}`, "a=1&b=%s&c=2", "<a>%s</a>", "Bearer %s"} {
				text := fmt.Sprintf(around, write(value))
				if !f.in(text) {
					t.Errorf("%s, %s: not found in %s", value, name, text)
				}
				masked := f.mask(text, func(string) string { return "REDACTED" })
				if f.in(masked) || !strings.Contains(masked, "REDACTED") {
					t.Errorf("%s, %s: %s became %s", value, name, text, masked)
				}
			}
			if text := write(value); (name == "as it is" || name == "in a URL, all" || name == "base64" || name == "in JSON") && !byHash.in(text) {
				t.Errorf("%s, %s: not found by its hash in %s", value, name, text)
			}
		}
	}
}

func TestAHashFindsWordsAndWholeTexts(t *testing.T) {
	f := newFinder(nil, [][sha256.Size]byte{sha256.Sum256([]byte("jane@example.com")), sha256.Sum256([]byte("jane doe"))})
	for text, masked := range map[string]string{
		"jane@example.com":                       "-",
		"To: <jane@example.com>, bob@x.org":      "To: <->, bob@x.org",
		"mailto:Jane@Example.com?subject=x":      "mailto:-?subject=x",
		`{"a":["jane@example.com",2]}`:           `{"a":["-",2]}`,
		"Jane Doe":                               "-",
		"Jane Doe of Berlin":                     "", // neither a word nor the whole
		"xjane@example.com":                      "",
		"q=jane%40example.com":                   "-",
		"jane@example.com and jane@example.com.": "- and -.",
	} {
		if found := f.in(text); found != (masked != "") {
			t.Errorf("%q: found %v", text, found)
		}
		if got := f.mask(text, func(string) string { return "-" }); masked != "" && got != masked || masked == "" && got != text {
			t.Errorf("%q became %q, want %q", text, got, masked)
		}
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	f := newFinder([]string{"jane.doe@example.com", "4711-0815"}, nil)
	for _, text := range []string{"", "jane", "jane.doe@example.org", "47110815", strings.Repeat("jane.doe%40example.co ", 100), strings.Repeat("QUJD", 1000), "%", `\u`, `\`, "&#;", "\x1f\x8b"} {
		if f.in(text) {
			t.Errorf("found in %.40q", text)
		}
		if got := f.mask(text, func(string) string { return "-" }); got != text {
			t.Errorf("%.40q became %.40q", text, got)
		}
	}
}

// A value that can't be searched within the bounds counts as a match.
func TestABombIsNotUnpacked(t *testing.T) {
	f := newFinder([]string{"jane.doe@example.com"}, nil)
	bomb := string(packed(strings.Repeat("x", 2*maxUnpacked)))
	if !f.in(bomb) || f.mask(bomb, func(string) string { return "-" }) != "-" {
		t.Error("a bomb passes")
	}
}

func FuzzMask(f *testing.F) {
	for _, write := range writings {
		f.Add(write("jane.doe@example.com"))
	}
	find := newFinder([]string{"jane.doe@example.com"}, [][sha256.Size]byte{sha256.Sum256([]byte("4711"))})
	f.Fuzz(func(t *testing.T, text string) {
		out := find.mask(text, func(string) string { return "REDACTED-0123456789abcdef" })
		if find.in(out) {
			t.Errorf("%q became %q", text, out)
		}
		if !find.in(text) && out != text {
			t.Errorf("%q became %q for no reason", text, out)
		}
	})
}
