package show

import (
	"bytes"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// charsets lists the charsets that are decoded, in addition to UTF-8. As in browsers, Latin-1 is read as
// windows-1252, and UTF-16 without a byte order mark as little-endian.
var charsets = []struct {
	names    []string
	encoding encoding.Encoding
}{
	{[]string{"iso-8859-1", "iso8859-1", "latin1", "l1", "windows-1252", "cp1252"}, charmap.Windows1252},
	{[]string{"iso-8859-2", "latin2"}, charmap.ISO8859_2},
	{[]string{"iso-8859-15", "latin-9", "latin9"}, charmap.ISO8859_15},
	{[]string{"windows-1250", "cp1250"}, charmap.Windows1250},
	{[]string{"windows-1251", "cp1251"}, charmap.Windows1251},
	{[]string{"koi8-r"}, charmap.KOI8R},
	{[]string{"utf-16", "utf16", "utf-16le"}, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)},
	{[]string{"utf-16be"}, unicode.UTF16(unicode.BigEndian, unicode.UseBOM)},
}

// marks are the byte order marks of UTF-16.
var marks = []string{"\xff\xfe", "\xfe\xff"}

// toUTF8 decodes a text from the charset in its media type, or according to its byte order mark.
func (c *content) toUTF8() {
	_, params, _ := mime.ParseMediaType(c.mediaType)
	name := strings.ToLower(strings.TrimSpace(params["charset"]))
	media := mediaOf(c.mediaType)
	if name == "" && slices.ContainsFunc(marks, func(mark string) bool { return bytes.HasPrefix(c.bytes, []byte(mark)) }) &&
		(strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "json") || strings.HasSuffix(media, "xml")) {
		name = "utf-16"
	}
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return
	}
	for _, set := range charsets {
		if !slices.Contains(set.names, name) {
			continue
		}
		if plain, err := set.encoding.NewDecoder().Bytes(c.bytes); err == nil {
			c.bytes, c.charset = plain, name
		}
		return
	}
	if !utf8.Valid(c.bytes) {
		c.notes = append(c.notes, "in the charset "+short(name)+", which is not decoded")
	}
}
