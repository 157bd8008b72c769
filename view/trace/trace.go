// Package trace builds the tree of calls of one request, across pods.
//
//	pod a              IN ──▶ OUT ┄┄┄┐
//	                                 │ one call, recorded by both sides
//	pod b                            └┄┄▶ IN ──▶ OUT ┄┄▶ (not recorded)
//
// The recorder of a pod links each outbound exchange to the inbound one that caused it. Between
// pods the index finds which two records are one call: see [index.Row.Other].
//
// Promises:
//
//   - Each row is in the tree once, even if rows contradict each other.
//   - Inferred links are marked, and differ from links that the recorder knew.
//   - The same rows give the same tree.
//
// It imports view/index for the rows, recording and the standard library.
package trace

import (
	"cmp"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/view/index"
)

// Link says how the cause of a call is known.
type Link string

// Links.
const (
	// Root means that nothing in the recording caused the call.
	Root Link = ""
	// Recorded means that the recorder knew the cause, by a header that the application passed on.
	Recorded Link = "recorded"
	// Inferred means that the cause is the innermost request that the pod was serving at that time.
	Inferred Link = "inferred"
)

// Span is one call: the record of the caller, of the callee, or of both. At least one is set.
type Span struct {
	// Caller is the outbound record of the call, and Callee the inbound one; nil if that side was not
	// recorded.
	Caller, Callee *index.Row
	// Link says how the parent is known, and Depth how many spans are above this one.
	Link  Link
	Depth int
	// Start is the time from the beginning of the trace. Skew is how far the callee's times were moved
	// to lie within the caller's, because two clocks differ; 0 if they were not moved.
	Start, Skew time.Duration
	// CalleeStart is Start for the callee's record.
	CalleeStart time.Duration

	parent   *Span
	children []*Span
}

// Row returns the caller's record, which includes the time on the network, or the callee's if there is only
// that one.
func (s *Span) Row() *index.Row { return cmp.Or(s.Caller, s.Callee) }

// Failed reports whether either side saw the call fail.
func (s *Span) Failed() bool {
	return s.Caller != nil && s.Caller.Failed || s.Callee != nil && s.Callee.Failed
}

// Trace is a tree of spans.
type Trace struct {
	// Spans are in display order: each span comes before those that it caused, and spans with the
	// same cause are in the order of their starts.
	Spans []*Span
	// Begin is the start of the earliest span, and Length the time from there to the last end.
	Begin  time.Time
	Length time.Duration
	// Pods is the number of pods that recorded a part of the trace.
	Pods int
}

// Build builds the tree of rows that [index.Index.Trace] returned.
func Build(rows []index.Row) *Trace {
	all := slices.Clone(rows)
	slices.SortFunc(all, func(a, b index.Row) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	b := builder{callers: map[int64]*Span{}, inbound: map[recording.UUID]*Span{}, served: map[pod][]*Span{}}
	for i := range all {
		if r := &all[i]; r.Direction == recording.Out {
			s := &Span{Caller: r}
			b.spans = append(b.spans, s)
			b.callers[r.ID] = s
		}
	}
	for i := range all {
		if r := &all[i]; r.Direction != recording.Out {
			b.callee(r)
		}
	}
	b.link()
	return b.trace(all)
}

// pod identifies the pod that recorded a row.
type pod struct{ cluster, namespace, name string }

func podOf(r *index.Row) pod { return pod{r.Cluster, r.Namespace, cmp.Or(r.Pod, r.Workload)} }

type builder struct {
	spans   []*Span
	callers map[int64]*Span          // by the caller's ID
	inbound map[recording.UUID]*Span // by the callee's UUID
	served  map[pod][]*Span          // spans with a callee, by its pod, in the order of start
}

// callee adds an inbound record to the span of its caller, or as a new span if there is none.
func (b *builder) callee(r *index.Row) {
	s := b.callers[r.Other]
	if s == nil || s.Callee != nil {
		s = &Span{}
		b.spans = append(b.spans, s)
	}
	s.Callee = r
	if _, twice := b.inbound[r.UUID]; !twice {
		b.inbound[r.UUID] = s
	}
	b.served[podOf(r)] = append(b.served[podOf(r)], s)
}

// link finds the parents of all spans that have a caller.
func (b *builder) link() {
	for _, s := range b.spans {
		if s.Caller == nil {
			continue
		}
		parent, how := b.inbound[s.Caller.Parent], Recorded
		if s.Caller.Parent == (recording.UUID{}) || parent == nil {
			parent, how = b.serving(s.Caller), Inferred
		}
		if parent == nil || parent.isBelow(s) {
			continue
		}
		s.parent, s.Link = parent, how
		parent.children = append(parent.children, s)
	}
}

// serving returns the innermost span that the pod of an outbound record was serving when it
// began: the last one that started before it and had not ended.
func (b *builder) serving(out *index.Row) *Span {
	served := b.served[podOf(out)]
	for _, s := range slices.Backward(served) {
		in := s.Callee
		if !in.Start.After(out.Start) && !in.Start.Add(in.Duration).Before(out.Start) {
			return s
		}
	}
	return nil
}

// isBelow reports whether s is t, or t caused it directly or indirectly.
func (s *Span) isBelow(t *Span) bool {
	for ; s != nil; s = s.parent {
		if s == t {
			return true
		}
	}
	return false
}

// trace sets the times and the depths of the spans, and puts them in display order.
func (b *builder) trace(rows []index.Row) *Trace {
	t := &Trace{}
	pods := map[pod]bool{}
	for i := range rows {
		pods[podOf(&rows[i])] = true
	}
	t.Pods = len(pods)
	var roots []*Span
	for _, s := range b.spans {
		if s.parent == nil {
			roots = append(roots, s)
		}
	}
	if len(roots) == 0 {
		return t
	}
	// Times are first relative to the start of the first root, on the clock of each root's pod. In
	// the end they are made relative to the earliest start.
	base := roots[0].Row().Start
	type placed struct {
		span *Span
		skew time.Duration // to add to the times of the span's row
	}
	order := func(a, b placed) int {
		x, y := a.span.Row(), b.span.Row()
		return cmp.Or(x.Start.Compare(y.Start), cmp.Compare(x.ID, y.ID))
	}
	var stack []placed
	push := func(spans []*Span, skew time.Duration) {
		next := make([]placed, len(spans))
		for i, s := range spans {
			next[i] = placed{s, skew}
		}
		slices.SortFunc(next, order)
		slices.Reverse(next)
		stack = append(stack, next...)
	}
	push(roots, 0)
	var first, last time.Duration
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		s := p.span
		if s.parent != nil {
			s.Depth = s.parent.Depth + 1
		}
		s.Start = s.Row().Start.Sub(base) + p.skew
		inner := p.skew
		if s.Callee != nil {
			s.CalleeStart = s.Callee.Start.Sub(base) + p.skew
			if s.Caller != nil {
				s.Skew = fit(s.Start, s.Caller.Duration, s.CalleeStart, s.Callee.Duration)
				s.CalleeStart += s.Skew
				inner += s.Skew
			}
		}
		t.Spans = append(t.Spans, s)
		first = min(first, s.Start)
		last = max(last, s.Start+s.Row().Duration)
		push(s.children, inner)
	}
	for _, s := range t.Spans {
		s.Start -= first
		s.CalleeStart -= first
	}
	t.Begin, t.Length = base.Add(first), last-first
	return t
}

// fit returns the distance by which the inner interval must move to be in the middle of the outer
// one, or 0 if it lies within that already.
func fit(outer, long, inner, short time.Duration) time.Duration {
	if inner >= outer && inner+short <= outer+long {
		return 0
	}
	return outer + (long-short)/2 - inner
}
