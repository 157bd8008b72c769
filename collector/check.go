package collector

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// readBytes is how much of a segment is in memory at once. Longer lines are copied to a larger
// buffer.
const readBytes = 64 << 10

// longLine is the length from which a line counts as long. Only one long line is in memory at a
// time.
const longLine = 1 << 20

// maxForeign bounds the bytes of a segment in lines that differ from the form in which this version
// writes exchanges: the counters, and lines of other versions. Reading them takes ten times as
// long, and several times their memory.
const maxForeign = 16 << 20

// checker checks segments, one at a time.
type checker struct {
	long chan []byte // the one buffer for long lines

	in      *bufio.Reader // of the file, and then of the decompressed content
	zstd    *zstd.Decoder
	decoder recording.Decoder
	record  recording.Exchange
	foreign int    // bytes of the segment, see maxForeign
	buf     []byte // a line that is too long for in
	isLong  bool   // buf was taken from long, and must be returned to it
}

// origin is where a record says that it was captured.
type origin struct{ cluster, namespace, workload string }

// check rejects a segment unless it is one frame of complete lines, each of them a record that
// agrees with the key.
func (c *checker) check(segment *io.SectionReader, key recording.SegmentKey) error {
	if c.in == nil {
		c.in = bufio.NewReaderSize(nil, readBytes)
	}
	c.in.Reset(segment)
	if err := checkFrame(c.in); err != nil {
		return err
	}
	if _, err := segment.Seek(0, io.SeekStart); err != nil {
		return tempFailed(err)
	}
	if err := c.open(segment); err != nil {
		return tempFailed(err)
	}
	defer c.close()
	var good origin // the last one that agreed
	read, ended := int64(0), false
	for line := 1; ; line++ {
		text, err := c.line()
		read += int64(len(text))
		switch {
		case err == io.EOF && line > 1:
			return nil
		case err == io.EOF:
			return refuse(contract.RefusedSegment, "the segment is empty")
		case read > MaxBytes:
			return refuse(contract.RefusedTooLarge, "the segment has more than %d bytes when decompressed, which is the limit", MaxBytes)
		case err != nil:
			return atLine(line, err)
		case ended:
			return refuse(contract.RefusedSegment, "line %d: found data after the counters, which must be the last line", line)
		}
		var from origin
		if from, ended, err = c.read(text[:len(text)-1], key); err != nil {
			return atLine(line, err)
		}
		if line == 1 || from != good {
			if err := agree(from, key); err != nil {
				return atLine(line, err)
			}
			good = from
		}
	}
}

// open starts to decompress the segment.
func (c *checker) open(segment io.Reader) (err error) {
	if c.zstd == nil {
		c.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
		if err != nil {
			return fmt.Errorf("start zstd: %w", err)
		}
	}
	if err := c.zstd.Reset(segment); err != nil {
		return fmt.Errorf("start zstd: %w", err)
	}
	c.in.Reset(c.zstd)
	return nil
}

// close releases the segment.
func (c *checker) close() {
	c.drop()
	_ = c.zstd.Reset(nil)
	c.in.Reset(nil)
	c.record, c.foreign = recording.Exchange{}, 0
}

// line returns the next line, with its newline. It is valid until the next call.
func (c *checker) line() ([]byte, error) {
	c.drop()
	text, err := c.in.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return text, c.lineError(text, err)
	}
	for err == bufio.ErrBufferFull {
		if len(c.buf)+len(text) > recording.MaxLine {
			return nil, refuse(contract.RefusedTooLarge, "the line has more than %d bytes, which is the limit", recording.MaxLine)
		}
		if !c.isLong && len(c.buf)+len(text) > longLine {
			c.buf, c.isLong = append((<-c.long)[:0], c.buf...), true
		}
		if cap(c.buf)-len(c.buf) < len(text) {
			c.buf = slices.Grow(c.buf, max(len(c.buf), len(text)))
		}
		c.buf = append(c.buf, text...)
		text, err = c.in.ReadSlice('\n')
	}
	c.buf = append(c.buf, text...)
	return c.buf, c.lineError(c.buf, err)
}

// drop releases the last line.
func (c *checker) drop() {
	if c.isLong {
		c.long <- c.buf
		c.buf, c.isLong = nil, false
	}
	c.buf = c.buf[:0]
}

// lineError returns the refusal for an error of reading a line.
func (c *checker) lineError(text []byte, err error) error {
	switch {
	case err == nil:
		return nil
	case err == io.EOF && len(text) == 0:
		return io.EOF
	case err == io.EOF:
		return refuse(contract.RefusedSegment, "the segment does not end with a newline")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return refuse(contract.RefusedTooLarge, "%v", err)
	}
	return refuse(contract.RefusedSegment, "the segment can't be decompressed: %v", err)
}

// read reads a record, or the counters, which end a segment.
func (c *checker) read(text []byte, key recording.SegmentKey) (from origin, counters bool, err error) {
	e := &c.record
	if c.decoder.Canonical(text, e) {
		return origin{e.Cluster, e.Namespace, e.Service}, false, nil
	}
	// The line has the counters, or another version wrote it.
	if c.foreign += len(text); c.foreign > maxForeign {
		return from, false, refuse(contract.RefusedTooLarge, "with this line, more than %d bytes are in records that differ from the form that this version writes, which is the limit", maxForeign)
	}
	// Readers decode both in this way. It comes first, because it bounds the number of members.
	if err := c.decoder.Decode(text, e); err != nil {
		return from, false, malformed("%v", err)
	}
	members, err := distinct(text, "msgType", "cluster", "namespace", "service", "counters")
	if err != nil {
		return from, false, malformed("%v", err)
	}
	var kind string
	if err := json.Unmarshal(members["msgType"], &kind); err != nil {
		return from, false, malformed("found no msgType, want %s or %s", recording.MsgType, recording.CountersType)
	}
	from = origin{e.Cluster, e.Namespace, e.Service}
	switch kind {
	case recording.MsgType:
		return from, false, nil
	case recording.CountersType:
		return from, true, checkCounters(members["counters"], key)
	}
	return from, false, malformed("found the msgType %.40q, want %s or %s", kind, recording.MsgType, recording.CountersType)
}

func malformed(format string, args ...any) error {
	return refuse(contract.RefusedSegment, format, args...)
}

// checkCounters compares the counters with the key.
func checkCounters(text []byte, key recording.SegmentKey) error {
	if len(text) == 0 || text[0] != '{' {
		return malformed("no counters")
	}
	if _, err := distinct(text, "pod", "segment"); err != nil {
		return malformed("counters: %v", err)
	}
	var c recording.Counters
	if err := json.Unmarshal(text, &c); err != nil {
		return malformed("counters: %v", err)
	}
	if pod := recording.KeyPart(c.Pod); pod != key.Pod {
		return refuse(contract.RefusedRecord, "the counters name the pod %.64q, but the key names %.64q", pod, key.Pod)
	}
	if c.Segment != key.Number {
		return refuse(contract.RefusedRecord, "the counters name the segment %d, but the key names %d", c.Segment, key.Number)
	}
	return nil
}

// distinct returns members of a JSON object. Each may occur once, and only in this spelling: some
// readers take the first of repeated members and some the last, and some ignore the case of names. The
// text must be JSON.
func distinct(text []byte, names ...string) (map[string]json.RawMessage, error) {
	found := map[string]json.RawMessage{}
	return found, recording.EachMember(text, recording.MaxMembers, func(name string, value []byte) error {
		i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
		if i < 0 {
			return nil
		}
		if _, twice := found[names[i]]; twice || name != names[i] {
			return fmt.Errorf("the member %q is repeated, or has another spelling", names[i])
		}
		found[name] = value
		return nil
	})
}

// agree compares the record's origin with the key.
func agree(from origin, key recording.SegmentKey) error {
	for _, part := range [...]struct{ what, got, want string }{
		{"cluster", from.cluster, key.Cluster}, {"namespace", from.namespace, key.Namespace}, {"workload", from.workload, key.Workload},
	} {
		if got := recording.KeyPart(part.got); got != part.want {
			return refuse(contract.RefusedRecord, "the record names the %s %.64q, but the key names %.64q", part.what, got, part.want)
		}
	}
	return nil
}

// atLine adds the line to a refusal.
func atLine(line int, err error) error {
	if r, ok := errors.AsType[*refused](err); ok {
		r.detail = fmt.Sprintf("line %d: %s", line, r.detail)
	}
	return err
}
