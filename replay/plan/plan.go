// Package plan stores a recording in the form in which it is sent: steps in recorded order,
// with their requests and recorded answers, all on disk.
//
//	exchanges, by start ─▶ Builder.Add ─▶ file: request as it is sent, exchange as JSON
//	                                        │
//	              Plan.Request(step) ◀──────┤   from a page that is read ahead
//	              Plan.Exchange(step) ◀─────┘   where an answer is not the recorded one
//
// It promises:
//
//   - Memory holds the names of endpoints and some pages of steps and requests. It doesn't
//     grow with the number of steps.
//   - The files are those of package scratch: they go with the process, are bounded, and only
//     their owner can read them.
//   - Exchanges that are left out are counted by reason.
//
// It imports recording, replay/rows, internal/scratch and the standard library.
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/internal/scratch"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay/rows"
)

// Step is one request to send.
type Step struct {
	// At is when the request began in the recording, counted from the first step.
	At time.Duration
	// Took is the recorded time from the beginning of the request to the end of the answer.
	Took time.Duration
	// Endpoint is an index in Plan.Endpoints.
	Endpoint int32
	// Safe reports whether the method only reads (RFC 9110, section 9.2.1).
	Safe bool
	// Target is the result of Options.Target for the exchange.
	Target uint8
	// Answer is the result of Options.Answer for the exchange.
	Answer uint64

	offset            int64
	request, exchange int32
}

// Plan is a recording, ready to be sent. It is safe for concurrent use.
type Plan struct {
	// Endpoints are the names of the endpoints.
	Endpoints []string
	// Began is when the first step began in the recording.
	Began time.Time
	// Left counts the exchanges that are not sent by reason, the most frequent one first.
	Left []Left

	steps  *rows.Table[Step] // in the order in which they began
	length time.Duration
	file   *scratch.File
	ahead  *scratch.Ahead // reads requests from file
}

// Left counts the exchanges that are not sent for one reason.
type Left struct {
	Reason string
	Count  int
	// Example is the request line of the first such exchange.
	Example string
}

// Len returns the number of steps.
func (p *Plan) Len() int { return p.steps.Len() }

// Step returns step n. Steps count from 0, in the order in which they began. If it can't be
// read, it is zero, and [Plan.Err] returns the error.
func (p *Plan) Step(n int) Step { return p.steps.At(n) }

// Steps returns all steps with their numbers.
func (p *Plan) Steps() iter.Seq2[int, Step] {
	return func(yield func(int, Step) bool) {
		for n := range p.Len() {
			if !yield(n, p.Step(n)) {
				return
			}
		}
	}
}

// Err returns the first error of reading steps.
func (p *Plan) Err() error { return p.steps.Err() }

// Length is the time from the first step to the end of the last answer.
func (p *Plan) Length() time.Duration { return p.length }

// Close removes the files.
func (p *Plan) Close() error { return errors.Join(p.file.Close(), p.steps.Close()) }

// Request appends the request of a step to dst, as encoded by Options.Encode.
func (p *Plan) Request(dst []byte, step int) ([]byte, error) {
	s := p.Step(step)
	return read(p.ahead, dst, s.offset, int(s.request))
}

// Exchange decodes the recorded exchange of a step.
func (p *Plan) Exchange(step int) (*recording.Exchange, error) {
	s := p.Step(step)
	text, err := read(p.file, nil, s.offset+int64(s.request), int(s.exchange))
	if err != nil {
		return nil, err
	}
	var d recording.Decoder
	e := new(recording.Exchange)
	if err := d.Decode(text, e); err != nil {
		return nil, fmt.Errorf("read step %d again: %w", step, err)
	}
	return e, nil
}

func read(r io.ReaderAt, dst []byte, offset int64, n int) ([]byte, error) {
	from := len(dst)
	dst = slices.Grow(dst, n)[:from+n]
	if _, err := r.ReadAt(dst[from:], offset); err != nil {
		return dst[:from], fmt.Errorf("read a recorded request: %w", err)
	}
	return dst, nil
}

// Options say how to build a plan.
type Options struct {
	// Encode appends the request of an exchange as it is sent. An error says why the request can't
	// be sent.
	Encode func(dst []byte, e *recording.Exchange) ([]byte, error)
	// Endpoint names the endpoint of an exchange.
	Endpoint func(e *recording.Exchange) string
	// Answer hashes the compared parts of the recorded answer. If nil, answers are not hashed.
	Answer func(e *recording.Exchange) uint64
	// Target returns the number of an exchange's target. If nil, all have the number 0.
	Target func(e *recording.Exchange) uint8
	// Dir is the directory for the files. The default is the system's directory for temporary
	// files. Limit bounds each file, in bytes. 0 means no limit.
	Dir   string
	Limit int64
}

// Builder builds a plan from exchanges. It isn't safe for concurrent use.
type Builder struct {
	o         Options
	plan      *Plan
	endpoints map[string]int32
	left      map[string]*Left
	file      *scratch.Writer
	steps     *rows.Writer[Step]
	last      time.Duration // At of the last step
	buf       []byte        // for the step that is being added
}

// maxEndpoints bounds the endpoints with a name. A recording with more endpoints has values in its
// paths that look like names.
const maxEndpoints = 5000

// others is the endpoint of requests beyond maxEndpoints.
const others = "(other endpoints)"

// NewBuilder returns a builder, and creates the plan's file.
func NewBuilder(o Options) (*Builder, error) {
	file, err := scratch.Create(o.Dir, "recorded requests", o.Limit)
	if err != nil {
		return nil, err
	}
	return &Builder{o: o, plan: new(Plan), endpoints: map[string]int32{}, left: map[string]*Left{}, file: file, steps: rows.NewWriter[Step](o.Dir, "recorded steps", o.Limit)}, nil
}

// Add adds an exchange, which must not begin before the last one. If the exchange can't be
// sent, step is false, and the plan counts the reason.
func (b *Builder) Add(e *recording.Exchange) (step bool, err error) {
	if b.buf, err = b.o.Encode(b.buf[:0], e); err != nil {
		b.Leave(err.Error(), e)
		return false, nil
	}
	request := len(b.buf)
	b.buf = e.AppendJSON(b.buf)
	offset, err := b.file.Add(b.buf)
	if err != nil {
		return false, err
	}
	p := b.plan
	if b.steps.Len() == 0 {
		p.Began = e.TS
	}
	s := Step{At: max(0, e.TS.Sub(p.Began)), Took: e.End(), Endpoint: b.endpoint(e), offset: offset, request: int32(request), exchange: int32(len(b.buf) - request)}
	s.At = max(s.At, b.last)
	b.last = s.At
	p.length = max(p.length, s.At+s.Took)
	s.Safe = e.HTTP != nil && recording.IsSafe(e.HTTP.Req.Method) && e.Conversation() == nil
	if b.o.Target != nil {
		s.Target = b.o.Target(e)
	}
	if b.o.Answer != nil {
		s.Answer = b.o.Answer(e)
	}
	return true, b.steps.Add(s)
}

// Leave counts an exchange that is not sent.
func (b *Builder) Leave(reason string, e *recording.Exchange) {
	l := b.left[reason]
	if l == nil {
		l = &Left{Reason: reason, Example: RequestLine(e)}
		b.left[reason] = l
	}
	l.Count++
}

// RequestLine describes a request for people: its method and path, or its protocol and address if
// it is not HTTP.
func RequestLine(e *recording.Exchange) string {
	if e.HTTP == nil {
		return e.L7Protocol + " " + e.NetworkAddress
	}
	return e.HTTP.Req.Method + " " + e.HTTP.Req.URL
}

func (b *Builder) endpoint(e *recording.Exchange) int32 {
	name := b.o.Endpoint(e)
	n, ok := b.endpoints[name]
	if !ok && len(b.endpoints) >= maxEndpoints {
		name = others
		n, ok = b.endpoints[name]
	}
	if !ok {
		n = int32(len(b.plan.Endpoints))
		b.endpoints[name] = n
		b.plan.Endpoints = append(b.plan.Endpoints, name)
	}
	return n
}

// Finish returns the plan. The builder can't be used afterwards.
func (b *Builder) Finish() (*Plan, error) {
	var err error
	if b.plan.file, err = b.file.Finish(); err != nil {
		b.steps.Abandon()
		return nil, err
	}
	b.plan.ahead = scratch.NewAhead(b.plan.file)
	if b.plan.steps, err = b.steps.Finish(); err != nil {
		return nil, errors.Join(err, b.plan.file.Close())
	}
	for _, l := range b.left {
		b.plan.Left = append(b.plan.Left, *l)
	}
	slices.SortFunc(b.plan.Left, func(x, y Left) int { return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Reason, y.Reason)) })
	return b.plan, nil
}

// Abandon removes the files of an unfinished plan.
func (b *Builder) Abandon() {
	b.file.Abandon()
	b.steps.Abandon()
}

var _ io.Closer = (*Plan)(nil)
