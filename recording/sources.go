package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// SourcesType is the msgType of the lines that list the sources of a large segment.
const SourcesType = "sources"

// MaxSources limits the total length of the names of a large segment's sources, in bytes, separators
// included.
const MaxSources = 16 << 20

// Sources describes the segments that a large segment was made from. The first line of the large
// segment has their names:
//
//	{"msgType":"sources","ts":"2026-11-22T20:00:00Z","cluster":"c1","namespace":"shop","service":"cart","sources":["20261122T201500.123Z-cart-7d4b-0.9f86d081884c7d65.jsonl.zst"]}
//
// A later line gives the source of each record after it, up to the next such line:
//
//	{"msgType":"sources","ts":"2026-11-22T20:00:00Z","cluster":"c1","namespace":"shop","service":"cart","of":[0,0,1,0]}
//
// The lines have no direction, so that queries for a direction don't match them.
type Sources struct {
	// Names has the sources' names without the folders of the partition.
	Names []string
	// Of has, for each record that follows, the index of its source in Names.
	Of []int32
}

// sourcesLine is the JSON of the line.
type sourcesLine struct {
	MsgType   string    `json:"msgType"`
	TS        time.Time `json:"ts"`
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	Service   string    `json:"service"`
	Sources   []string  `json:"sources,omitempty"`
	Of        places    `json:"of,omitempty"`
}

// sourcesPrefix begins each line that AppendLine writes.
var sourcesPrefix = []byte(`{"msgType":"` + SourcesType + `"`)

// AppendLine appends the line, with its newline. Equal sources give equal lines.
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
	if err != nil { // impossible: strings, numbers and a valid time can be encoded
		return dst
	}
	return append(append(dst, line...), '\n')
}

// places has one number for each record, so it is decoded without encoding/json, which takes ten
// times as long.
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
			return errors.New("want a list of small numbers such as [0,0,1]")
		}
	}
	return nil
}

// SegmentSources returns the sources in the first line of a large segment, and nil for other
// segments. It reads as little as possible.
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
	case err == io.EOF || errors.Is(err, ErrTorn) || errors.As(err, &bad): // the reader of the segment reports the error
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

// sourcesLine parses the line in text.
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

// Sources returns the sources of a large segment, once its first line has been read. It returns nil
// for other segments.
func (r *Reader) Sources() []string { return r.sources }

// Origin returns the index in Sources of the segment that the last record or counters came from,
// or -1 if that isn't known. [Decoder.Glance] may call it, too.
func (r *Reader) Origin() int {
	if len(r.origins) == 0 || int(r.origins[0]) >= len(r.sources) {
		return -1
	}
	return int(r.origins[0])
}
