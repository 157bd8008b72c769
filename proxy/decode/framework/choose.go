package framework

import (
	"strings"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// choice is whether an exchange is captured.
type choice uint8

const (
	unchosen choice = iota
	kept
	filtered   // by a rule
	private    // it is with a cloud's metadata server
	sampledOut // with its trace
)

// left tells that the exchange is left out: it is parsed, for what follows it is
// to be understood, and nothing of its content is kept.
func (x *Exchange) left() bool { return x.choice > kept }

// Choose decides whether the exchange is captured, by what is known of it now. The
// decision stands, whatever becomes of the filter.
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
// which answers with credentials. The proxy gives the tap nothing of flows to one that
// it knows by itself; in a tunnel to another address, only the request names it: in its
// target, in HTTP/2's :authority, or in Host. Servers differ in which of them counts.
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

// targetHost is the host of a target in absolute-form (RFC 9112 section 3.2.2), or of
// one that CONNECT has.
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

// metadata is [address.IsMetadata] of a Host. Most requests on a flow have the same.
func (state *FlowState) metadata(host string) bool {
	if host != state.host {
		state.host = strings.Clone(host) // it is a part of the head, which is not to be kept
		state.private = address.IsMetadata(address.HostOf(host))
	}
	return state.private
}

// asked is the request as rules see it.
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

// trace is a place among all traces, if it is known.
type trace struct {
	point uint64
	known bool
}

// traceOf places an ID. Zeros are none (W3C Trace Context, section 3.2.2.3).
func traceOf(id string) trace {
	if strings.Trim(id, "0-") == "" {
		return trace{}
	}
	return trace{filter.Point(id), true}
}

// point is where the exchange's trace stands: that of the inbound exchange which
// caused it, or of its own ID. What belongs to no trace is one of its own.
func (x *Exchange) point() uint64 {
	if x.link.trace.known {
		return x.link.trace.point
	}
	return filter.Point(string(x.UUID[:]))
}

// leave counts an exchange that is left out.
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
