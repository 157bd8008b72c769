package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// SourcesType is the msgType of the lines that say what a large segment was made of.
const SourcesType = "sources"

// MaxSources is how many bytes the names of a large segment's sources have at most, with
// what stands between them.
const MaxSources = 16 << 20

// Sources are what a large segment says of those that it was made of. Its first line has
// their names:
//
//	{"msgType":"sources","ts":"2026-11-22T20:00:00Z","cluster":"c1","namespace":"shop","service":"cart","sources":["20261122T201500.123Z-cart-7d4b-0.9f86d081884c7d65.jsonl.zst"]}
//
// Others say from which of them the records behind are, each up to the next such line:
//
//	{"msgType":"sources","ts":"2026-11-22T20:00:00Z","cluster":"c1","namespace":"shop","service":"cart","of":[0,0,1,0]}
//
// They have no direction: queries that ask for one don't find them.
type Sources struct {
	// Names are those of the sources in the partition, without its folders.
	Names []string
	// Of has, for each of the records that follow, the place of its source among the names.
	Of []int32
}

// sourcesLine is the line.
type sourcesLine struct {
	MsgType   string    `json:"msgType"`
	TS        time.Time `json:"ts"`
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	Service   string    `json:"service"`
	Sources   []string  `json:"sources,omitempty"`
	Of        places    `json:"of,omitempty"`
}

// sourcesPrefix begins every such line that AppendLine writes.
var sourcesPrefix = []byte(`{"msgType":"` + SourcesType + `"`)

// AppendLine appends the line, with its newline. The same sources always have the same.
func (s Sources) AppendLine(dst []byte, p Partition) []byte {
	line, err := json.Marshal(sourcesLine{
		MsgType:   SourcesType,
		TS:        p.Hour.UTC(),
		Cluster:   cmp.Or(p.Cluster, Undefined),
		Namespace: cmp.Or(p.Namespace, Undefined),
		Service:   cmp.Or(p.Workload, Undefined),
		Sources:   s.Names,
		Of:        s.Of,
	})
	if err != nil { // strings, numbers and a time of our own have JSON
		return dst
	}
	return append(append(dst, line...), '\n')
}

// places are read without encoding/json, which takes ten times as long: there is one for
// each record.
type places []int32

// UnmarshalJSON implements [json.Unmarshaler].
func (p *places) UnmarshalJSON(text []byte) error {
	list := bytes.TrimSuffix(bytes.TrimPrefix(text, []byte("[")), []byte("]"))
	*p = (*p)[:0]
	number, digits := int32(0), 0
	for i := 0; i <= len(list); i++ {
		switch {
		case i < len(list) && '0' <= list[i] && list[i] <= '9' && digits < 9:
			number = number*10 + int32(list[i]-'0')
			digits++
		case digits > 0 && (i == len(list) || list[i] == ','):
			*p = append(*p, number)
			number, digits = 0, 0
		default:
			return errors.New("want a list of small numbers, as [0,0,1]")
		}
	}
	return nil
}

// SegmentSources returns the names in the first line of a segment: nil if it isn't one of a
// large segment. It reads as little as it can.
func SegmentSources(segment io.Reader) ([]string, error) {
	r, err := NewReader(segment)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	r.Decoder, r.MaxBytes = &Decoder{Light: true}, MaxSources+readBytes
	var e Exchange
	var bad *LineError
	switch err := r.record(&e); {
	case err == io.EOF || errors.Is(err, ErrTorn) || errors.As(err, &bad): // whoever reads it, says so
		return nil, nil
	case err != nil:
		return nil, err
	case e.MsgType != SourcesType:
		return nil, nil
	}
	if err := r.sourcesLine(); err != nil {
		return nil, err
	}
	return r.sources, nil
}

// sourcesLine reads the line that is in text.
func (r *Reader) sourcesLine() error {
	l := sourcesLine{Of: r.spare[:0]}
	if err := json.Unmarshal(r.text, &l); err != nil {
		return err
	}
	if r.sources == nil {
		r.sources = l.Sources
	}
	r.spare, r.origins = l.Of, l.Of
	return nil
}

// Sources returns the names of the segments that a large one was made of, once its first
// line was read; nil for any other.
func (r *Reader) Sources() []string { return r.sources }

// Origin returns the place among Sources of the segment from which the last record is, or
// the counters; -1 if that isn't known. [Decoder.Glance] may ask, too.
func (r *Reader) Origin() int {
	if len(r.origins) == 0 || int(r.origins[0]) >= len(r.sources) {
		return -1
	}
	return int(r.origins[0])
}
