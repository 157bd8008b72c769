package gor

import (
	"bufio"
	"bytes"
	"container/list"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// Bounds of what is read.
const (
	// MaxRecord is the largest size of a record, in bytes. As JSON its body takes a third more.
	MaxRecord = recording.MaxLine / 2
	// maxWaiting and maxWaitingBytes bound the requests that wait for their answers, and the
	// answers that wait for their requests.
	maxWaiting      = 10_000
	maxWaitingBytes = 64 << 20
	// maxHead is the largest length of a record's first line.
	maxHead = 1 << 10
)

// tagID is the tag for an ID of GoReplay that doesn't fit into a UUID, such as one of older versions.
const tagID = "goreplayId"

// Reader reads exchanges from a file. It isn't safe for concurrent use.
type Reader struct {
	in      *bufio.Reader
	n       int // number of the record, from 1
	record  []byte
	waiting map[string]*list.Element
	order   list.List // of *half, the oldest first
	bytes   int
	ready   []*half
	ended   error
}

// half is a request without its recorded answer, or an answer without its request.
type half struct {
	id     string
	e      *recording.Exchange // nil: an answer without its request
	losses recording.LossList
	size   int
	other  *reply // the answer without a request, or a replay's answer, used if no recorded one comes
}

// reply is an answer with the head of its record.
type reply struct {
	head
	message
}

// NewReader returns a reader of a file.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), waiting: map[string]*list.Element{}}
}

// Is reports whether a file with this beginning is one of GoReplay's.
func Is(head []byte) bool {
	line, _, ok := bytes.Cut(head, []byte("\n"))
	if !ok {
		return false
	}
	_, err := parseHead(string(line))
	return err == nil
}

// Next reads the next exchange into e, which it overwrites, and returns what it could not keep. At
// the end it returns [io.EOF], or [recording.ErrTorn] if the file ends early. After a
// [recording.LineError] or a [recording.LeftOutError], the caller can continue.
func (r *Reader) Next(e *recording.Exchange) (recording.LossList, error) {
	for {
		if len(r.ready) > 0 {
			h := r.ready[0]
			r.ready = r.ready[1:]
			*e = *h.e
			return h.losses, nil
		}
		if r.ended != nil {
			if first := r.order.Front(); first != nil {
				r.alone(first)
				continue
			}
			return nil, r.ended
		}
		if err := r.read(); err == io.EOF || err == recording.ErrTorn {
			r.ended = err
		} else if err != nil {
			return nil, err
		}
	}
}

// head is the first line of a record.
type head struct {
	kind    byte
	id      string
	ts      time.Time
	latency time.Duration
}

func parseHead(line string) (h head, err error) {
	f := strings.Fields(line)
	bad := fmt.Errorf("found %.60q, want a line such as: 1 f45590522cd1838b4a0d5c5aab80b77929dea3b3 1231123123123123123 0", line)
	if len(f) < 3 || len(f) > 4 || len(f[0]) != 1 || f[0] < "1" || f[0] > "3" || len(f[1]) > 64 {
		return h, bad
	}
	h.kind, h.id = f[0][0], f[1]
	if _, err := hex.DecodeString(h.id + strings.Repeat("0", len(h.id)%2)); err != nil {
		return h, bad
	}
	ns, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || ns < 0 {
		return h, bad
	}
	h.ts = time.Unix(0, ns).UTC()
	if len(f) == 4 {
		n, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			return h, bad
		}
		h.latency = time.Duration(max(0, n))
	}
	return h, nil
}

// next reads the next record into r.record, without its separator.
func (r *Reader) next() error {
	mark := []byte("\n" + Separator + "\n")
	if r.record = r.record[:0]; cap(r.record) > 1<<20 {
		r.record = nil
	}
	r.n++
	long := false
	for {
		line, err := r.in.ReadSlice('\n')
		if len(r.record)+len(line) > MaxRecord+len(mark) {
			long = true
			r.record = append(r.record[:0], r.record[len(r.record)-min(len(r.record), len(mark)):]...)
		}
		r.record = append(r.record, line...)
		if bytes.HasSuffix(r.record, mark) {
			r.record = r.record[:len(r.record)-len(mark)]
			if long {
				return &recording.LineError{Err: fmt.Errorf("record %d is longer than %d MiB", r.n, MaxRecord>>20)}
			}
			return nil
		}
		switch {
		case err == io.EOF:
			return r.last()
		case err != nil && err != bufio.ErrBufferFull:
			return err
		}
	}
}

// last handles the rest after the last separator: nothing, or a record without a separator.
func (r *Reader) last() error {
	if len(bytes.TrimSpace(r.record)) == 0 {
		return io.EOF
	}
	if tail := bytes.TrimSuffix(r.record, []byte("\n"+Separator)); len(tail) < len(r.record) { // only the line feed is missing
		r.record = tail
		return nil
	}
	return recording.ErrTorn
}

// read reads a record, and joins it with the request or the answer that it belongs to.
func (r *Reader) read() error {
	if err := r.next(); err != nil {
		return err
	}
	line, message, _ := bytes.Cut(bytes.TrimPrefix(bytes.TrimLeft(r.record, "\n"), []byte("\ufeff")), []byte("\n"))
	bad := func(err error) error {
		return &recording.LineError{Err: fmt.Errorf("record %d: %w", r.n, err)}
	}
	h, err := parseHead(string(line[:min(len(line), maxHead)]))
	if err != nil {
		return bad(err)
	}
	m, err := parse(message)
	if err != nil {
		return bad(err)
	}
	m.size += 1 << 10
	switch {
	case h.kind == '1' && m.status != 0:
		return bad(fmt.Errorf("an answer, but the first line announces a request"))
	case h.kind != '1' && m.status == 0:
		return bad(fmt.Errorf("a request, but the first line announces an answer"))
	case h.kind == '1':
		r.request(h, m)
		return nil
	}
	return r.reply(&reply{h, m})
}

// request handles a request. Its answer may have come before it.
func (r *Reader) request(h head, m message) {
	var early *reply
	if at := r.waiting[h.id]; at != nil {
		if one := at.Value.(*half); one.e == nil && !one.other.ts.Before(h.ts) {
			early = one.other
			r.remove(at)
		} else { // another request has the same ID
			r.alone(at)
		}
	}
	r.wait(h, m)
	if early != nil {
		r.answer(r.waiting[h.id], early)
	}
}

// reply handles an answer. A replay's answer waits for the recorded one, which may come after it. A
// recorded answer waits for its request, because it may come first if both are captured at once.
func (r *Reader) reply(a *reply) error {
	beside := &recording.LeftOutError{Where: fmt.Sprintf("record %d", r.n), What: "an answer of a replay, but the request has another answer or is not in the file"}
	at := r.waiting[a.id]
	if at == nil || at.Value.(*half).e == nil {
		if a.kind == '3' {
			return beside
		}
		if at != nil {
			r.alone(at)
		}
		r.push(&half{id: a.id, size: a.size, other: a})
		return nil
	}
	one := at.Value.(*half)
	switch {
	case a.isInterim():
		one.e.Tags.Set(recording.TagInterim, strconv.Itoa(a.status))
	case a.kind == '3' && one.other != nil:
		return beside
	case a.kind == '3':
		one.other = a
		one.size += a.size
		r.bytes += a.size
		r.bound()
	case one.other != nil:
		r.answer(at, a)
		return beside
	default:
		r.answer(at, a)
	}
	return nil
}

// wait adds a request to those that wait for their answers.
func (r *Reader) wait(h head, m message) {
	e := &recording.Exchange{MsgType: recording.MsgType, TS: h.ts, Direction: recording.In, UUID: uuid(h)}
	q := &recording.HTTPRequest{}
	e.HTTP = &recording.HTTP{}
	scheme, host, target := "http", m.headers.Get("Host"), m.target
	if s, _, authority, _, ok := web.SplitURL(m.target); ok {
		scheme = s
		if host == "" {
			host = authority
		}
	}
	web.SetRequest(e, m.method, scheme, host, target)
	if q = &e.HTTP.Req; scheme == "https" || strings.Contains(target, "://") {
		_, _, _, path, _ := web.SplitURL(target)
		q.URL, _, _ = strings.Cut(path, "?")
		e.Location = q.URL
	}
	q.Version, q.Headers, q.Body = m.version, m.headers, m.body
	e.Tags.Set(recording.TagSource, "goreplay")
	if len(h.id) != 24 {
		e.Tags.Set(tagID, h.id)
	}
	if m.trailers != "" {
		e.Tags.Set(recording.TagRequestTrailers, m.trailers)
	}
	cut(e, m, recording.TagRequestBodySize)
	one := &half{id: h.id, e: e, size: m.size}
	for _, loss := range m.losses {
		one.losses.Add("request", loss)
	}
	r.push(one)
}

// push adds a half to those that wait.
func (r *Reader) push(h *half) {
	r.waiting[h.id] = r.order.PushBack(h)
	r.bytes += h.size
	r.bound()
}

// bound completes the oldest halves until the others are within the bounds.
func (r *Reader) bound() {
	for r.order.Len() > maxWaiting || r.bytes > maxWaitingBytes {
		r.alone(r.order.Front())
	}
}

// remove removes a half from those that wait.
func (r *Reader) remove(at *list.Element) *half {
	h := r.order.Remove(at).(*half)
	delete(r.waiting, h.id)
	r.bytes -= h.size
	return h
}

// alone completes a half without its other side, which did not come.
func (r *Reader) alone(at *list.Element) {
	h := at.Value.(*half)
	switch {
	case h.e == nil:
		r.remove(at)
		r.ready = append(r.ready, orphan(h.other))
	case h.other != nil:
		r.answer(at, h.other)
	default:
		r.remove(at)
		h.e.Tags.Set(recording.TagIncomplete, "no_answer")
		r.ready = append(r.ready, h)
	}
}

// answer completes a request with its answer.
func (r *Reader) answer(at *list.Element, a *reply) {
	h := r.remove(at)
	h.answer(a)
	r.ready = append(r.ready, h)
}

func (h *half) answer(a *reply) {
	e, m := h.e, &a.message
	s := &e.HTTP.Res
	s.StatusCode, s.StatusMessage = m.status, strings.TrimSpace(strconv.Itoa(m.status)+" "+m.reason)
	s.Headers, s.Body, s.ContentType = m.headers, m.body, m.headers.Get("Content-Type")
	e.Status = strconv.Itoa(m.status)
	if m.trailers != "" {
		e.Tags.Set(recording.TagResponseTrailers, m.trailers)
	}
	if m.interim != 0 {
		e.Tags.Set(recording.TagInterim, strconv.Itoa(m.interim))
	}
	cut(e, *m, recording.TagResponseBodySize)
	for _, loss := range m.losses {
		h.losses.Add("response", loss)
	}
	took := a.latency
	if since := a.ts.Sub(e.TS); took == 0 && since > 0 {
		took = since
	}
	e.Duration = took.Round(time.Millisecond).Milliseconds()
	if took > 0 && took < 24*time.Hour {
		e.Tags.Set(recording.TagResponseStart, strconv.FormatInt(took.Microseconds(), 10))
	}
}

// cut tags an exchange whose body is incomplete.
func cut(e *recording.Exchange, m message, tag string) {
	if m.cut > 0 || m.truncated {
		e.Tags.Set(recording.TagTruncated, "true")
	}
	if m.cut > 0 {
		e.Tags.Set(tag, strconv.FormatInt(m.cut, 10))
	}
}

// orphan makes an exchange of an answer whose request is not in the file, or too far from it.
func orphan(a *reply) *half {
	e := &recording.Exchange{MsgType: recording.MsgType, TS: a.ts, Direction: recording.In, UUID: uuid(a.head), L7Protocol: recording.HTTP1, HTTP: &recording.HTTP{}}
	e.UUID[15] ^= 1 // the request may have its own exchange, if it waited too long
	if start := a.ts.Add(-a.latency); a.latency < 24*time.Hour && start.Unix() >= 0 {
		e.TS = start
	}
	e.Tags.Set(recording.TagSource, "goreplay")
	if len(a.id) != 24 {
		e.Tags.Set(tagID, a.id)
	}
	e.Tags.Set(recording.TagIncomplete, "bytes_lost")
	h := &half{id: a.id, e: e}
	h.losses.Add("request", "is not in the file, or too far from its answer")
	h.answer(a)
	return h
}

// uuid makes the UUID of an exchange from GoReplay's ID and the time.
func uuid(h head) recording.UUID {
	u := web.UUID([]byte("gor"), []byte(h.id), []byte(h.ts.Format(time.RFC3339Nano)))
	if len(h.id) == 24 {
		_, _ = hex.Decode(u[:12], []byte(h.id)) // parseHead has checked it
	}
	return u
}
