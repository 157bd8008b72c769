package framework

import (
	"strings"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// choice says whether an exchange is captured, and if not, why.
type choice uint8

const (
	unchosen choice = iota
	kept
	filtered   // a rule excludes it
	private    // it goes to a cloud's metadata server
	sampledOut // its trace is not in the sample
)

// left reports whether the exchange is not captured. The decoder still parses it, to
// find the end of it, but keeps none of its content.
func (x *Exchange) left() bool { return x.choice > kept }

// Choose decides whether the exchange is captured, from the fields that are known now.
// A later change of the filter does not change the decision.
func (x *Exchange) Choose() {
	if x.choice == unchosen {
		x.choose(x.state.Filter.Load())
	}
}

func (x *Exchange) choose(f *filter.Filter) {
	switch {
	case x.isPrivate():
		x.choice = private
	case f.All():
		x.choice = kept
	case !f.Keeps(x.asked()):
		x.choice = filtered
	case !f.Samples(x.point()):
		x.choice = sampledOut
	default:
		x.choice = kept
	}
}

// isPrivate reports whether an outbound request is for a cloud's metadata server,
// which answers with credentials. The tap gets no flows whose destination is such a
// server. In a tunnel to another address, only the request names the server: in its
// target, in HTTP/2's :authority, or in Host. Servers differ in which of them they use,
// so isPrivate checks all three.
func (x *Exchange) isPrivate() bool {
	if x.state.Flow.Direction == tap.In {
		return false
	}
	r := &x.http.Req
	if x.state.metadata(r.Host) || r.URI != "" && r.URI[0] != '/' && address.IsMetadata(targetHost(r.URI)) {
		return true
	}
	for i := range r.Headers {
		if f := &r.Headers[i]; f.Name == "Host" && f.Value != r.Host && address.IsMetadata(address.HostOf(f.Value)) {
			return true
		}
	}
	return false
}

// targetHost returns the host of a target in absolute-form (RFC 9112 section 3.2.2), or
// in authority-form, as CONNECT has it.
func targetHost(target string) string {
	_, authority, ok := strings.Cut(target, "://")
	if !ok {
		authority = target
	}
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		authority = authority[:i]
	}
	return address.HostOf(authority[strings.LastIndexByte(authority, '@')+1:])
}

// metadata returns [address.IsMetadata] of a Host. It caches the last result, because
// most requests of a flow have the same Host.
func (state *FlowState) metadata(host string) bool {
	if host != state.host {
		state.host = strings.Clone(host) // so that the rest of the head can be freed
		state.private = address.IsMetadata(address.HostOf(host))
	}
	return state.private
}

// asked returns the request in the form that rules are matched against.
func (x *Exchange) asked() *filter.Exchange {
	r := &x.http.Req
	host := r.Host
	if host == "" {
		host = x.state.Flow.Host
	}
	return &filter.Exchange{
		In:     x.state.Flow.Direction == tap.In,
		Host:   host,
		Path:   path(r.URI),
		Method: r.Method,
		Header: r.Headers.Values,
	}
}

// trace is the sampling point of a trace, if the trace is known.
type trace struct {
	point uint64
	known bool
}

// traceOf returns the trace of an ID. An ID of zeros is invalid (W3C Trace Context,
// section 3.2.2.3).
func traceOf(id string) trace {
	if strings.Trim(id, "0-") == "" {
		return trace{}
	}
	return trace{filter.Point(id), true}
}

// point returns the sampling point of the exchange's trace. The trace is that of the
// inbound exchange that caused it, or else of the exchange's own trace ID. An exchange
// without a trace is sampled by its UUID.
func (x *Exchange) point() uint64 {
	if x.link.trace.known {
		return x.link.trace.point
	}
	return filter.Point(string(x.UUID[:]))
}

// leave counts an exchange that is not captured, by the reason.
func (c *Counters) leave(x *Exchange) {
	switch x.choice {
	case filtered:
		c.Filtered.Add(1)
	case private:
		c.Private.Add(1)
	default:
		c.SampledOut.Add(1)
	}
}
