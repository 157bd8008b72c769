package rewrite

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"iter"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/tapedeck/tapedeck/recording/coding"
)

const (
	// minValue is the length of the shortest value that a rule may look for. Shorter values occur in
	// nearly every text.
	minValue = 4
	// maxViews is how many nested encodings are undone, such as base64 in a URL in a JSON string.
	maxViews = 5
	// minPacked is the length of the shortest base64 of a compressed text.
	minPacked = 16
	// maxUnpacked limits the total size of all decoded forms of a text.
	maxUnpacked = 16 << 20
)

// finder finds values in texts in any encoding: in any case, escaped as in URLs, JSON, XML and HTML, in
// base64 and in hexadecimal digits, in lines as in mail, in UTF-16, compressed with gzip or zlib, and in
// nested encodings of these kinds.
type finder struct {
	values []string // in lower case
	raw    *regexp.Regexp
	hashes map[[sha256.Size]byte]bool
	// base64 and hex are the lengths of the shortest encoded texts that may have a value.
	base64, hex int
}

// newFinder returns nil if there is nothing to look for.
func newFinder(values []string, hashes [][sha256.Size]byte) *finder {
	if len(values)+len(hashes) == 0 {
		return nil
	}
	f := &finder{hashes: map[[sha256.Size]byte]bool{}}
	shortest := minValue // a value that is given as a hash has at least this length
	if len(hashes) == 0 {
		shortest = len(slices.MinFunc(values, func(a, b string) int { return len(a) - len(b) }))
	}
	f.base64, f.hex = min(minPacked, (4*shortest+2)/3), 2*shortest
	for _, h := range hashes {
		f.hashes[h] = true
	}
	var patterns []string
	for _, v := range values {
		f.values = append(f.values, strings.ToLower(v))
		for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v), html.EscapeString(v)} {
			patterns = append(patterns, regexp.QuoteMeta(form))
		}
	}
	if patterns != nil {
		slices.SortFunc(patterns, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // longest first
		f.raw = regexp.MustCompile("(?i:" + strings.Join(slices.Compact(patterns), "|") + ")")
	}
	return f
}

// in reports whether a value is in the text. It also returns true for a text whose decoded forms are
// longer than maxUnpacked and than 64 times the text, because they can't be searched.
func (f *finder) in(text string) bool {
	room := max(maxUnpacked, 64*len(text))
	return f.within(text, maxViews, &room)
}

func (f *finder) within(text string, depth int, room *int) bool {
	if *room -= len(text); *room < 0 || f.plainly(text) {
		return true
	}
	if depth == 0 {
		return false
	}
	for view := range f.views(text) {
		if f.within(view, depth-1, room) {
			return true
		}
	}
	return false
}

// plainly reports whether a value is in the text without decoding it.
func (f *finder) plainly(text string) bool {
	if len(f.values) > 0 {
		lower := strings.ToLower(text)
		for _, v := range f.values {
			if strings.Contains(lower, v) {
				return true
			}
		}
	}
	return f.word(text) != ""
}

// word returns the whole text if it has one of the hashes, or else the first word that has one.
func (f *finder) word(text string) string {
	if len(f.hashes) == 0 {
		return ""
	}
	for whole := range strings.SplitSeq(text, "\x00") {
		if f.hashed(whole) {
			return whole
		}
	}
	for w := range strings.FieldsFuncSeq(text, divides) {
		if f.hashed(w) {
			return w
		}
	}
	return ""
}

func (f *finder) hashed(word string) bool {
	word = strings.TrimSpace(word)
	return f.hashes[sha256.Sum256([]byte(word))] || f.hashes[sha256.Sum256([]byte(strings.ToLower(word)))]
}

// divides reports whether a character separates words.
func divides(r rune) bool { return r <= ' ' || strings.ContainsRune("\"'`<>()[]{},;:=&?/\\|", r) }

// mask replaces the values in a text. If a value has a form that can't be cut out, or if the result still
// has a value, mask replaces the whole text.
func (f *finder) mask(text string, by func(value string) string) string {
	out := text
	if f.raw != nil {
		out = f.raw.ReplaceAllStringFunc(out, by)
	}
	for w := f.word(out); w != ""; w = f.word(out) {
		with := by(w)
		if w == out || strings.Contains(with, w) {
			return by(text)
		}
		out = strings.ReplaceAll(out, w, with)
	}
	if f.in(out) {
		return by(text)
	}
	return out
}

// views yields the decoded forms of a text: without its escapes, and the encoded texts in it. It never
// yields the text itself.
func (f *finder) views(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, view := range []func(string) string{unescapedURL, unescapedForm, unescapedJSON, unescapedHTML, unwrapped, narrowed, unpacked} {
			if v := view(text); v != text && v != "" && !yield(v) {
				return
			}
		}
		// An encoded text may begin inside a longer run, so each offset is a separate view.
		for offset := range 4 {
			if v := decoded(text, offset, f.base64, isBase64, debase64); v != "" && !yield(v) {
				return
			}
		}
		for offset := range 2 {
			if v := decoded(text, offset, f.hex, isHexDigit, dehex); v != "" && !yield(v) {
				return
			}
		}
	}
}

// unescapedURL undoes one level of percent-encoding, but keeps invalid escapes.
func unescapedURL(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHexDigit[s[i+1]] && isHexDigit[s[i+2]] {
			c, _ := hex.DecodeString(s[i+1 : i+3])
			out = append(out, c...)
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

// unescapedForm is unescapedURL for forms, where `+` is a space.
func unescapedForm(s string) string {
	if strings.IndexByte(s, '+') < 0 {
		return s
	}
	return unescapedURL(strings.ReplaceAll(s, "+", " "))
}

// unescapedJSON undoes the escapes of JSON and JavaScript strings anywhere in a text.
func unescapedJSON(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		end := i + 2
		if s[i+1] == 'x' && i+4 <= len(s) {
			if c, err := hex.DecodeString(s[i+2 : i+4]); err == nil {
				b.WriteRune(rune(c[0]))
				i += 3
				continue
			}
		}
		if s[i+1] == 'u' {
			end = i + 6
			if end+6 <= len(s) && s[end:end+2] == `\u` { // it may be the second half of a surrogate pair
				end += 6
			}
		}
		var text string
		if end <= len(s) && json.Unmarshal([]byte(`"`+s[i:end]+`"`), &text) == nil {
			b.WriteString(text)
			i = end - 1
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unescapedHTML undoes the escapes of HTML and XML.
func unescapedHTML(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	return html.UnescapeString(s)
}

// minLine is the length of the shortest base64 line that may be wrapped. Mail and PEM have longer lines.
const minLine = 48

// unwrapped removes the line breaks of MIME: those in base64, and soft ones in quoted-printable text.
func unwrapped(s string) string {
	if strings.IndexByte(s, '\n') < 0 {
		return s
	}
	s = softBreaks.Replace(s)
	var b strings.Builder
	done, run := 0, 0 // run counts the base64 characters before i
	for i := range len(s) {
		switch c := s[i]; {
		case isBase64[c]:
			run++
		case c == '\r' && i+1 < len(s) && s[i+1] == '\n':
		case c == '\n' && run >= minLine:
			b.WriteString(strings.TrimSuffix(s[done:i], "\r"))
			done, run = i+1, 0
		default:
			run = 0
		}
	}
	return b.String() + s[done:]
}

var softBreaks = strings.NewReplacer("=\r\n", "", "=\n", "")

// narrowed decodes a text that is mostly UTF-16, in either byte order. It returns other texts unchanged.
func narrowed(s string) string {
	if strings.Count(s, "\x00")*4 < len(s) {
		return s
	}
	even := 0 // the number of zero bytes at even offsets
	for i := 0; i < len(s); i += 2 {
		if s[i] == 0 {
			even++
		}
	}
	high := 1 // where the high bytes are
	if even*8 >= len(s) {
		high = 0
	}
	return wide(s[min(1-high, len(s)):], 0) + "\x00" + wide(s[min(high, len(s)):], 1)
}

// wide decodes UTF-16. low is 0 if the low bytes come first, or 1 if they come second.
func wide(s string, low int) string {
	units := make([]uint16, len(s)/2)
	for i := range units {
		units[i] = uint16(s[2*i+low]) | uint16(s[2*i+1-low])<<8
	}
	return string(utf16.Decode(units))
}

// unpacked decompresses a text in gzip or zlib. It returns other texts unchanged.
func unpacked(s string) string {
	name := ""
	switch {
	case strings.HasPrefix(s, "\x1f\x8b"):
		name = "gzip"
	case len(s) > 2 && s[0]&0x0f == 8 && s[0]>>4 < 8 && (uint(s[0])<<8|uint(s[1]))%31 == 0:
		name = "deflate"
	default:
		return s
	}
	var d coding.Decoder
	defer d.Close()
	text, _ := d.Decode(nil, []string{name}, []byte(s), maxUnpacked+1) // has everything before an error
	return string(text)
}

// decoded decodes each run of characters in the set, from the offset within the run on, and decompresses
// the result if it is compressed. A null byte ends each text.
func decoded(s string, offset, shortest int, of *[256]bool, decode func(string) string) string {
	var b strings.Builder
	for from := 0; from < len(s) && b.Len() <= maxUnpacked; from++ {
		to := from
		for to < len(s) && of[s[to]] {
			to++
		}
		if to-from-offset >= shortest {
			text := decode(s[from+offset : to])
			b.WriteString(text)
			b.WriteByte(0)
			if u := unpacked(text); u != text {
				b.WriteString(u)
				b.WriteByte(0)
			}
		}
		from = to
	}
	return b.String()
}

var (
	isBase64   = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
	isHexDigit = set("0123456789ABCDEFabcdef")
)

func set(chars string) *[256]bool {
	var t [256]bool
	for i := range len(chars) {
		t[chars[i]] = true
	}
	return &t
}

var toStandard = strings.NewReplacer("-", "+", "_", "/")

// debase64 decodes base64 in either alphabet, without padding.
func debase64(run string) string {
	if len(run)%4 == 1 {
		run = run[:len(run)-1]
	}
	text, _ := base64.RawStdEncoding.DecodeString(toStandard.Replace(run)) // has everything before an error
	return string(text)
}

func dehex(run string) string {
	text, _ := hex.DecodeString(run[:len(run)&^1])
	return string(text)
}
