package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
	"github.com/tapedeck/tapedeck/recording/read"
)

const (
	// maxBody is the number of searched bytes of each of these: a decoded body, the messages of
	// one side, and the headers of one side.
	maxBody = 16 << 10
	// maxHeld bounds the JSON of exchanges in memory while they are sorted, in bytes.
	maxHeld = 64 << 20
	// batchBytes is the length of the texts that one goroutine passes to the other at a time.
	batchBytes = 256 << 10
	// maxGroups bounds the endpoints of workloads and hosts. Further ones count as one.
	maxGroups = 1 << 18
)

// head describes an index.
type head struct {
	// State identifies the content of the recording that the index was made from.
	State  string
	Rows   int
	Blocks int // of words
	Groups [][4]uint32
	Calls  []callKey
	Report Report
	// Check shows that the JSON is complete.
	Check string
}

// builder makes an index of records.
//
//	record ─▶ row ─▶ columns, packs            one goroutine
//	       └▶ text ─▶ words ─▶ runs ─▶ blocks  another
type builder struct {
	ctx context.Context
	w   *writer

	rows   int
	names  dictionary
	groups map[[4]uint32]uint32
	keys   [][4]uint32
	values [numColumns][]int64
	pack   []byte
	paths  []byte
	starts []byte
	zstd   *zstd.Encoder
	coding coding.Decoder
	body   []byte
	buf    []byte
}

// batch has the texts of some rows, for the goroutine that finds words.
type batch struct {
	first int // number of the first row
	text  []byte
	ends  []int // of each row's text
}

// build writes an index of the records of a reader.
func build(ctx context.Context, w *writer, in *read.Reader, state, dir string, progress func(Progress), taken func() int) error {
	b := &builder{ctx: ctx, w: w, groups: map[[4]uint32]uint32{}, keys: [][4]uint32{{}}}
	defer b.coding.Close()
	var err error
	if b.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10)); err != nil {
		return err
	}
	words, err := newInverter(dir)
	if err != nil {
		return err
	}
	finished := false
	defer func() {
		if !finished && words.file != nil {
			words.file.Abandon()
		}
	}()
	group, gctx := errgroup.WithContext(ctx)
	texts := make(chan *batch, 4)
	free := make(chan *batch, 8)
	group.Go(func() error {
		for t := range texts {
			begin := 0
			for i, end := range t.ends {
				if err := words.add(t.first+i, t.text[begin:end]); err != nil {
					return err
				}
				begin = end
			}
			select {
			case free <- t:
			default:
			}
		}
		return nil
	})
	group.Go(func() error {
		defer close(texts)
		t := new(batch)
		send := func() error {
			if len(t.ends) == 0 {
				return nil
			}
			select {
			case texts <- t:
			case <-gctx.Done():
				return gctx.Err()
			}
			select {
			case t = <-free:
			default:
				t = new(batch)
			}
			*t = batch{first: b.rows, text: t.text[:0], ends: t.ends[:0]}
			return nil
		}
		for rec, err := range in.Records() {
			if err != nil {
				return err
			}
			if err := gctx.Err(); err != nil {
				return err
			}
			t.text = b.text(t.text, rec)
			t.ends = append(t.ends, len(t.text))
			if err := b.add(rec); err != nil {
				return err
			}
			if b.rows%progressRows == 0 {
				progress(Progress{Phase: "indexing", Done: b.rows, All: taken(), Unit: exchanges, Exchanges: int64(b.rows)})
			}
			if len(t.text) >= batchBytes {
				if err := send(); err != nil {
					return err
				}
			}
		}
		return send()
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := b.flush(); err != nil {
		return err
	}
	h := head{State: state, Rows: b.rows, Groups: b.keys, Report: reportOf(in.Report()), Check: "complete"}
	phase := func(name string) func(done, all int) {
		return func(done, all int) {
			progress(Progress{Phase: name, Done: done, All: all, Exchanges: int64(b.rows)})
		}
	}
	finished = true
	if h.Blocks, err = words.finish(ctx, w, phase("sorting words")); err != nil {
		return err
	}
	all := b.names.columns
	if h.Calls, err = b.calls(phase("matching calls")); err != nil {
		return err
	}
	b.names, b.groups = dictionary{}, nil
	for c := range all {
		if err := w.add(ctx, kindNames, c, appendTexts(nil, all[c].all)); err != nil {
			return err
		}
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return w.add(ctx, kindHead, 0, text)
}

// progressRows is the number of rows between two reports of progress.
const progressRows = 1 << 12

// add adds a row.
func (b *builder) add(rec *read.Record) error {
	e := entryOf(rec)
	for c, name := range [numNamed]string{e.Direction, e.Protocol, e.Cluster, e.Namespace, e.Workload, e.Pod, e.Peer, e.Method, e.Host, e.Endpoint} {
		b.values[c] = append(b.values[c], int64(b.names.number(column(c), name)))
	}
	n := len(b.values[0]) - 1
	host := uint32(b.values[colHost][n])
	if e.Direction == recording.In {
		host = b.names.number(colHost, "") // the host is the workload itself
	}
	key := [4]uint32{uint32(b.values[colDirection][n]), uint32(b.values[colWorkload][n]), host, uint32(b.values[colEndpoint][n])}
	group, ok := b.groups[key]
	if !ok && len(b.keys) < maxGroups {
		group = uint32(len(b.keys))
		b.keys, b.groups[key] = append(b.keys, key), group
	}
	flags := int64(0)
	if e.Failed {
		flags |= flagFailed
	}
	if e.Incomplete != "" {
		flags |= flagIncomplete
	}
	if e.answered {
		flags |= flagAnswered
	}
	trace := int64(0)
	if e.shared != "" {
		trace = int64(hash64(e.shared))
	}
	for c, v := range [...]int64{int64(e.Status), int64(e.GRPCStatus), flags, e.Start.UnixMicro(), e.Duration.Microseconds(), e.ResponseSize,
		hashUUID(e.UUID), hashUUID(e.Parent), trace, int64(hash32([]byte(target(e.Path)))), int64(group)} {
		b.values[int(colStatus)+c] = append(b.values[int(colStatus)+c], v)
	}
	path := fold(e.Path)
	b.starts = binary.LittleEndian.AppendUint32(b.starts, uint32(len(b.paths)))
	b.paths = append(b.paths, path...)
	b.pack = e.append(b.pack)
	b.rows++
	if b.rows%packRows == 0 {
		if err := b.flushPack(); err != nil {
			return err
		}
	}
	if b.rows%pathRows == 0 {
		if err := b.flushPaths(); err != nil {
			return err
		}
	}
	if b.rows%chunkRows == 0 {
		return b.flushValues()
	}
	return nil
}

// target returns the path and the query of a request's target. A client of a proxy sends a whole
// URL, but the server sees only these two.
func target(uri string) string {
	if strings.HasPrefix(uri, "/") {
		return uri
	}
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return uri
	}
	return cmp.Or(u.RequestURI(), "/")
}

func hashUUID(u recording.UUID) int64 {
	return int64(binary.LittleEndian.Uint64(u[:]) ^ binary.LittleEndian.Uint64(u[8:])*0x9e3779b97f4a7c15)
}

func (b *builder) flushPack() error {
	b.buf = b.zstd.EncodeAll(b.pack, b.buf[:0])
	b.pack = b.pack[:0]
	return b.w.add(b.ctx, kindRows, (b.rows-1)/packRows, b.buf)
}

func (b *builder) flushPaths() error {
	b.starts = binary.LittleEndian.AppendUint32(b.starts, uint32(len(b.paths)))
	b.buf = append(append(b.buf[:0], b.starts...), b.paths...)
	b.starts, b.paths = b.starts[:0], b.paths[:0]
	return b.w.add(b.ctx, kindPaths, (b.rows-1)/pathRows, b.buf)
}

func (b *builder) flushValues() error {
	for c := range b.values {
		if len(b.values[c]) == 0 {
			continue
		}
		b.buf = appendValues(b.buf[:0], b.values[c])
		if err := b.w.add(b.ctx, kindValue+kind(c), (b.rows-1)/chunkRows, b.buf); err != nil {
			return err
		}
		b.values[c] = b.values[c][:0]
	}
	return nil
}

// flush writes the rows that are in no part yet.
func (b *builder) flush() error {
	if b.rows%packRows != 0 {
		if err := b.flushPack(); err != nil {
			return err
		}
	}
	if b.rows%pathRows != 0 {
		if err := b.flushPaths(); err != nil {
			return err
		}
	}
	if b.rows%chunkRows != 0 {
		return b.flushValues()
	}
	return nil
}

// text appends the searched texts of a record. NUL separates unrelated texts.
func (b *builder) text(dst []byte, rec *read.Record) []byte {
	field := func(s string) {
		dst = append(append(dst, s...), 0)
	}
	field(clip(rec.Command, maxText))
	field(clip(rec.Host(), maxText))
	if h := rec.HTTP; h != nil {
		field(clip(h.Req.Method, maxText))
		for i, uri := range [...]string{h.Req.URI, h.Req.URL} {
			if uri = clip(uri, maxText); i > 0 && strings.HasPrefix(h.Req.URI, uri) {
				continue
			}
			field(uri)
			if strings.IndexByte(uri, '%') >= 0 {
				if plain, err := url.QueryUnescape(uri); err == nil {
					field(plain)
				}
			}
		}
		for _, half := range [...]recording.Half{rec.Request(), rec.Response()} {
			end := len(dst) + maxBody
			for _, line := range half.Headers {
				if len(dst) >= end {
					break
				}
				field(clip(line.Name, maxBody))
				field(clip(line.Value, maxBody))
			}
			if len(half.Body) == 0 {
				continue
			}
			var err error
			if b.body, err = half.Decode(&b.coding, b.body[:0], maxBody); err != nil && len(b.body) == 0 {
				b.body = append(b.body, clip(half.Body, maxBody)...) // not decoded
			}
			dst = appendText(dst, b.body)
			if strings.HasPrefix(strings.ToLower(half.Headers.Get("Content-Type")), "application/x-www-form-urlencoded") {
				dst = appendForm(dst, b.body)
			}
		}
	} else {
		field(clip(rec.Location, maxText))
	}
	if c := rec.Conversation(); c != nil {
		messages := c.Messages
		if rec.WebSocket != nil {
			if joined, err := recording.JoinFrames(messages, maxBody); err == nil {
				messages = joined
			}
		}
		left := map[bool]int{true: maxBody, false: maxBody}
		for i := range messages {
			client := messages[i].From == recording.Client
			data := messages[i].Data[:min(len(messages[i].Data), left[client])]
			if left[client] -= len(data); len(data) > 0 {
				dst = appendText(dst, data)
			}
		}
	}
	return dst
}

func clip[T string | []byte](s T, most int) T { return s[:min(len(s), most)] }

// appendText appends data if it is text. Of binary data it appends the parts that look like text.
func appendText(dst, data []byte) []byte {
	whole := len(data)
	for n := 1; n < min(len(data)+1, utf8.UTFMax); n++ {
		if last := data[len(data)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) { // a limit cut a character
				whole -= n
			}
			break
		}
	}
	if bytes.IndexByte(data, 0) < 0 && utf8.Valid(data[:whole]) {
		return appendJSON(append(append(dst, data...), 0), data)
	}
	for i := 0; i < len(data); {
		begin := i
		for i < len(data) && ' ' <= data[i] && data[i] <= '~' {
			i++
		}
		if i-begin >= minText {
			dst = append(append(dst, data[begin:i]...), 0)
		}
		i++
	}
	return dst
}

// jsonBlanks are the letters of JSON's escapes for characters that separate words.
const jsonBlanks = "nrtbf"

// appendJSON appends a JSON text again with its escapes decoded, if it has any. Otherwise a word
// after the escape \n would begin with an n.
func appendJSON(dst, data []byte) []byte {
	if bytes.IndexByte(data, '\\') < 0 || !looksLikeJSON(data) {
		return dst
	}
	begin, some := len(dst), false
	for i := 0; i < len(data); {
		c := data[i]
		if c != '\\' || i+1 == len(data) {
			dst = append(dst, c)
			i++
			continue
		}
		switch {
		case strings.IndexByte(jsonBlanks, data[i+1]) >= 0:
			dst = append(dst, ' ')
			i += 2
		case data[i+1] == 'u':
			r, size := jsonRune(data[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		default: // separates words in either form
			dst = append(dst, c, data[i+1])
			i += 2
			continue
		}
		some = true
	}
	if !some {
		return dst[:begin]
	}
	return append(dst, 0)
}

// looksLikeJSON reports whether a text is JSON, or server-sent events with JSON.
func looksLikeJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && strings.IndexByte("{[\"", data[0]) >= 0 || bytes.HasPrefix(data, []byte("data:")) || bytes.Contains(data, []byte("\ndata:"))
}

// jsonRune decodes an escape such as \u00e9, or two that form a surrogate pair. It returns a blank for an
// invalid escape.
func jsonRune(data []byte) (r rune, size int) {
	unit := func(data []byte) rune {
		if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(data[2:6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	first := unit(data)
	switch {
	case first < 0:
		return ' ', 2
	case utf16.IsSurrogate(first):
		if second := unit(data[6:]); second >= 0 {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r, 12
			}
		}
		return ' ', 6
	case first == 0: // NUL would separate fields
		return ' ', 6
	}
	return first, 6
}

// appendForm appends a decoded form: + becomes a blank, and %XX the byte.
func appendForm(dst, data []byte) []byte {
	if bytes.IndexByte(data, '%') < 0 { // without escapes, the words are the same
		return dst
	}
	begin := len(dst)
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(data):
			if n, err := strconv.ParseUint(string(data[i+1:i+3]), 16, 8); err == nil && n > 0 {
				c = byte(n)
				i += 2
			}
		}
		dst = append(dst, c)
	}
	if !utf8.Valid(dst[begin:]) {
		return dst[:begin]
	}
	return append(dst, 0)
}

// minText is the number of consecutive printable characters that count as text in binary data.
const minText = 4
