package convert

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/convert/gor"
	"github.com/tapedeck/tapedeck/convert/har"
	"github.com/tapedeck/tapedeck/convert/wiremock"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/markdown"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Reader reads the exchanges of one file.
type Reader = read.ForeignReader

// Files reads files of other tools beside a recording: it is a [read.Foreign].
type Files struct {
	// Opened, unless it is nil, is called with the format of each file that another tool's format has.
	Opened func(f *Format)
}

// IsName is [IsName].
func (Files) IsName(name string) bool { return IsName(name) }

// Open opens a file by what [Detect] finds out.
func (f Files) Open(file io.Reader, name string, beside func(name string) (io.ReadCloser, error)) (io.Reader, Reader, error) {
	in, format, err := Detect(file, name)
	switch {
	case err != nil:
		return nil, nil, err
	case format == nil:
		return nil, nil, read.ErrNotForeign
	case format.Open == nil:
		return in, nil, nil
	}
	if f.Opened != nil {
		f.Opened(format)
	}
	return in, format.Open(in, beside), nil
}

// Writer writes exchanges to one file.
type Writer interface {
	// Write adds an exchange, and names the parts that are lost. It returns a [recording.LeftOutError] for
	// an exchange that doesn't fit into the format. Every other error is an error of writing.
	Write(e *recording.Exchange) (recording.LossList, error)
	// Close writes the end of the file. It doesn't close the underlying writer.
	Close() error
}

// Opener opens a file that another file refers to.
type Opener = wiremock.Opener

// Format is a file format.
type Format struct {
	// Name is its name in flags.
	Name string
	// Extensions are those of its files, with the dot, the usual one first.
	Extensions []string
	// Doc describes it.
	Doc string
	// Reads and Writes say whether Tapedeck reads and writes it.
	Reads, Writes bool
	// Open returns a reader of a file; nil if package recording reads the format, or if it is only written.
	Open func(r io.Reader, beside Opener) Reader
	// Create returns a writer of a file; nil if the format is only read, or has a file for each exchange.
	// version is the version of Tapedeck.
	Create func(w io.Writer, version string) Writer
	// Marshal appends a file with one exchange; nil unless the format has a file for each exchange.
	Marshal func(dst []byte, e *recording.Exchange) []byte
	// ReadLoses and WriteLoses name what is lost when a file is read, and when it is written.
	ReadLoses, WriteLoses string

	is func(head []byte, keys []string) bool
}

// Formats is the table of formats, in the order in which they are recognised.
func Formats() []Format {
	return []Format{
		{
			Name: "rrpair", Extensions: []string{".jsonl", ".json"}, Reads: true, Writes: true,
			Doc:    "RRPair JSON lines, the format of recordings; `.jsonl.zst` and `.jsonl.gz` are compressed.",
			Create: newLines, ReadLoses: "Unknown members of nested objects.", WriteLoses: "Nothing.",
		},
		{
			Name: "markdown", Extensions: []string{".md"}, Reads: true, Writes: true,
			Doc:     "RRPair markdown: a folder with one file for each exchange, for people to read and edit.",
			Open:    func(r io.Reader, _ Opener) Reader { return &one{r: r} },
			Marshal: markdown.Append, is: func(head []byte, _ []string) bool { return markdown.Is(head) },
			ReadLoses: "Unknown sections and lines, fractions of milliseconds, and the escaping of forms, which the file shows as JSON.", WriteLoses: "Nothing.",
		},
		{
			Name: "har", Extensions: []string{".har"}, Reads: true, Writes: true,
			Doc:       "HAR 1.2, which browsers' developer tools and proxies export.",
			Open:      func(r io.Reader, _ Opener) Reader { return har.NewReader(r) },
			Create:    func(w io.Writer, version string) Writer { return har.NewWriter(w, version) },
			is:        func(_ []byte, keys []string) bool { return slices.Contains(keys, "log") },
			ReadLoses: "Pages; cookies and parameters that are in no header and no URL; bodies that the browser left out; the charset of a text, because HAR has UTF-8. Requests without a server, such as `data:` and `file:`, are left out.", WriteLoses: "Exchanges without HTTP are left out.",
		},
		{
			Name: "goreplay", Extensions: []string{".gor"}, Reads: true, Writes: true,
			Doc:       "GoReplay's files; `.gor.gz` is compressed.",
			Open:      func(r io.Reader, _ Opener) Reader { return gor.NewReader(r) },
			Create:    func(w io.Writer, _ string) Writer { return gor.NewWriter(w) },
			is:        func(head []byte, _ []string) bool { return gor.Is(head) },
			ReadLoses: "The sizes of chunks, the case of header names, the order of headers with different names, and answers of a replay if there is a recorded one.", WriteLoses: "Everything except HTTP requests and answers, which become HTTP/1. Exchanges without HTTP are left out.",
		},
		{
			Name: "wiremock", Extensions: []string{".json"}, Reads: true,
			Doc:       "WireMock's mappings, with bodies from `__files`, as outbound exchanges.",
			Open:      func(r io.Reader, beside Opener) Reader { return wiremock.NewReader(r, beside) },
			is:        func(_ []byte, keys []string) bool { return isMapping(keys) },
			ReadLoses: "Matchers for several values: a pattern becomes its text. Scenarios, templates, faults and random delays. WireMock answers a request only with the mapping of the highest priority; here the others follow it. Stubs for messages are left out.",
		},
		{
			Name: "vegeta", Extensions: []string{".vegeta"}, Writes: true,
			Doc:        "Targets for `vegeta attack -format=json`.",
			Create:     newTargets,
			WriteLoses: "Everything except requests. Exchanges without HTTP, or without a URL that vegeta can parse, are left out.",
		},
		{
			Name: "curl", Extensions: []string{".sh"}, Writes: true,
			Doc:        "A shell script that only calls curl for each request.",
			Create:     newScript,
			WriteLoses: "Everything except requests. Requests with binary bodies, with bodies of more than 100 KiB, and without HTTP or a host are left out.",
		},
	}
}

// Find returns the format with the name.
func Find(name string) (*Format, error) {
	var names []string
	for _, f := range Formats() {
		if f.Name == name {
			return &f, nil
		}
		names = append(names, f.Name)
	}
	return nil, fmt.Errorf("format %.40q: want %s", name, strings.Join(names, ", "))
}

// compressed are the extensions for compression, which follow a format's own.
var compressed = [...]string{".gz", ".zst"}

// ByName returns the format and the compression (.gz, .zst or "") that the extension of an output's name
// stands for. The format is nil if the name has no known extension.
func ByName(name string) (f *Format, compression string) {
	for _, c := range compressed {
		if rest, ok := strings.CutSuffix(name, c); ok {
			name, compression = rest, c
			break
		}
	}
	for _, f := range Formats() {
		if f.Writes && slices.Contains(f.Extensions, path.Ext(name)) {
			return &f, compression
		}
	}
	return nil, compression
}

// IsName reports whether the extension of a name is one of a format that is read.
func IsName(name string) bool {
	name = strings.TrimSuffix(name, ".gz")
	return slices.ContainsFunc(Formats(), func(f Format) bool { return f.Reads && slices.Contains(f.Extensions, path.Ext(name)) })
}

// headBytes is how many bytes of a file Detect looks at.
const headBytes = 4 << 10

// maxKeys is how many members of an object Detect looks at.
const maxKeys = 20

// Detect recognises the format of a file by its beginning. It returns a reader of the whole file, which
// decompresses gzip. The format is nil for a markdown file without exchanges. An unknown file is taken for
// RRPair, and its reader then says what is wrong.
func Detect(r io.Reader, name string) (io.Reader, *Format, error) {
	in := bufio.NewReaderSize(r, headBytes)
	head, err := peek(in)
	if err != nil {
		return nil, nil, err
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", err)
		}
		in = bufio.NewReaderSize(&limited{z, recording.MaxSegment}, headBytes)
		if head, err = peek(in); err != nil {
			return nil, nil, err
		}
		name = strings.TrimSuffix(name, ".gz")
	}
	all := Formats()
	rrpair := &all[0]
	if bytes.HasPrefix(head, []byte(`{"msgType"`)) || bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return in, rrpair, nil
	}
	keys := keysOf(head)
	if path.Ext(name) == ".har" && len(keys) > 0 && !slices.Contains(keys, "msgType") {
		keys = append(keys, "log") // perhaps it is damaged, or a level deeper
	}
	for i := range all {
		if f := &all[i]; f.is != nil && f.is(head, keys) {
			return in, f, nil
		}
	}
	if first := bytes.TrimLeft(head, " \t\r\n\ufeff"); path.Ext(name) == ".md" && (len(first) == 0 || first[0] != '{' && first[0] != '[') {
		return in, nil, nil
	}
	return in, rrpair, nil
}

// peek returns the beginning of a file.
func peek(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(headBytes)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) { // a later read reports that the file was cut
		err = nil
	}
	return head, err
}

// keysOf returns the names of the first members of the JSON object at the beginning of a file.
func keysOf(head []byte) (keys []string) {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(head, []byte("\ufeff"))))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for depth := 1; depth > 0 && len(keys) < maxKeys; {
		isKey := depth == 1
		t, err := d.Token()
		if err != nil {
			break
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			continue
		}
		if !isKey {
			continue
		}
		name, _ := t.(string)
		keys = append(keys, name)
		var value json.RawMessage
		if d.Decode(&value) != nil { // its value is incomplete
			break
		}
	}
	return keys
}

// isMapping reports whether an object with these members is a mapping of WireMock or a list of them.
func isMapping(keys []string) bool {
	for _, key := range []string{"msgType", "l7protocol", "http", "direction", "log"} {
		if slices.Contains(keys, key) {
			return false
		}
	}
	has := func(key string) bool { return slices.Contains(keys, key) }
	return has("mappings") || has("request") || has("response") || has("trigger") && has("actions")
}

// limited is a stream that fails after a number of bytes.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("more than %d bytes when decompressed", int64(recording.MaxSegment))
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// one reads a markdown file.
type one struct {
	r    io.Reader
	done bool
}

func (o *one) Next(e *recording.Exchange) (recording.LossList, error) {
	if o.done {
		return nil, io.EOF
	}
	o.done = true
	read, losses, err := markdown.Parse(o.r)
	var bad *markdown.Error
	switch {
	case errors.As(err, &bad):
		return nil, &recording.LineError{Line: bad.Line, Err: errors.New(bad.What)}
	case err != nil:
		return nil, err
	}
	*e = *read
	return losses, nil
}

// lines writes RRPair JSON lines.
type lines struct {
	w   *bufio.Writer
	buf []byte
}

func newLines(w io.Writer, _ string) Writer { return &lines{w: bufio.NewWriterSize(w, 64<<10)} }

func (l *lines) Write(e *recording.Exchange) (recording.LossList, error) {
	l.buf = append(e.AppendJSON(l.buf[:0]), '\n')
	_, err := l.w.Write(l.buf)
	return nil, err
}

func (l *lines) Close() error { return l.w.Flush() }
