package index_test

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/view/index"
)

// side makes one side of a call, with its start and duration in milliseconds. trace is a number; 0
// means none.
func side(n int, direction, workload, host, peer, path string, trace, at, took int) *recording.Exchange {
	e := exchange(0, "GET", path, 200)
	e.UUID, e.TS, e.Duration = uuid(n), begin.Add(time.Duration(at)*time.Millisecond), int64(took)
	e.Direction, e.Service, e.HTTP.Req.Host = direction, workload, host
	e.Tags = recording.Tags{{Name: recording.TagPodName, Value: workload + "-1"}, {Name: recording.TagPeer, Value: peer}}
	if trace > 0 {
		e.HTTP.Req.Headers = recording.Headers{{Name: "Traceparent", Value: fmt.Sprintf("00-%032x-%016x-01", trace, n)}}
	}
	return e
}

func TestACallCountsOnce(t *testing.T) {
	const in, out = recording.In, recording.Out
	for name, c := range map[string]struct {
		all  []*recording.Exchange
		want string
	}{
		"both sides are recorded": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 5, 10),
		}, "shop/web > shop/cart 1"},
		"the caller alone":  {[]*recording.Exchange{side(1, out, "web", "api.stripe.com", "", "/a", 1, 0, 20)}, "shop/web > api.stripe.com 1"},
		"the callee alone":  {[]*recording.Exchange{side(1, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 0, 20)}, "10.0.0.1 > shop/cart 1"},
		"an unknown caller": {[]*recording.Exchange{side(1, in, "cart", "cart.shop.svc", "unknown", "/a", 1, 0, 20)}, "unknown > shop/cart 1"},
		"a retry": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 5, 10),
			side(3, out, "web", "cart.shop.svc", "", "/a", 1, 30, 20), side(4, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 35, 10),
		}, "shop/web > shop/cart 2"},
		"a caller that lost one side of a call": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 5, 10),
			side(3, in, "cart", "cart.shop.svc", "10.0.0.1", "/b", 2, 35, 10), side(4, out, "web", "cart.shop.svc", "", "/c", 3, 50, 1),
		}, "shop/web > shop/cart 3"},
		"a caller that went through a proxy": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "http://cart.shop.svc:8080/a?b=1", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a?b=1", 1, 5, 10),
		}, "shop/web > shop/cart 1"},
		"a callee whose clock is behind": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 1, 1000, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 5, 10),
		}, "shop/web > shop/cart 1"},
		"pods of one name in two namespaces": {[]*recording.Exchange{
			side(1, out, "web", "web.blog.svc", "", "/a", 1, 0, 20), inNamespace(side(2, in, "web", "web.blog.svc", "10.0.0.1", "/a", 1, 5, 10), "blog"),
		}, "shop/web > blog/web 1"},
		"another path": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/b", 1, 5, 10),
		}, "10.0.0.1 > shop/cart 1, shop/web > cart.shop.svc 1"},
		"another trace": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 2, 5, 10),
		}, "10.0.0.1 > shop/cart 1, shop/web > cart.shop.svc 1"},
		"no trace": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 0, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 0, 5, 10),
		}, "10.0.0.1 > shop/cart 1, shop/web > cart.shop.svc 1"},
		"another time": {[]*recording.Exchange{
			side(1, out, "web", "cart.shop.svc", "", "/a", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 5000, 10),
		}, "10.0.0.1 > shop/cart 1, shop/web > cart.shop.svc 1"},
		"a pod that asks itself": {[]*recording.Exchange{
			side(1, in, "web", "web.shop.svc", "10.0.0.1", "/a", 1, 0, 20), side(2, out, "web", "web.shop.svc", "", "/a", 1, 5, 10),
		}, "10.0.0.1 > shop/web 1, shop/web > web.shop.svc 1"},
	} {
		t.Run(name, func(t *testing.T) {
			x := open(t, index.Options{}, place(t, c.all...))
			calls, err := x.Calls(context.Background(), index.Filter{})
			check(t, err)
			var got []string
			for _, call := range calls {
				got = append(got, fmt.Sprintf("%s > %s %d", call.From, call.To, call.Count))
				if p := list(t, x, call.Filter); p.Total != call.Count {
					t.Errorf("%s: its filter selects %d of %d", got[len(got)-1], p.Total, call.Count)
				}
			}
			slices.Sort(got)
			if diff := gocmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func inNamespace(e *recording.Exchange, name string) *recording.Exchange {
	e.Namespace = name
	return e
}

// pairs returns the IDs of both sides of each call, as `caller-callee`.
func pairs(t *testing.T, x *index.Index) (all []string) {
	t.Helper()
	for _, r := range list(t, x, index.Filter{}).Rows {
		if r.Other == 0 {
			continue
		}
		other, err := x.Row(context.Background(), r.Other)
		check(t, err)
		if other.Other != r.ID {
			t.Errorf("the other side of %d is %d, whose other side is %d", r.ID, r.Other, other.Other)
		}
		if r.Direction == recording.Out {
			all = append(all, fmt.Sprintf("%d-%d", r.ID, r.Other))
		}
	}
	return all
}

// The rows are numbered in the order of their starts.
func TestTheOtherSideIsTheOneInTheMiddle(t *testing.T) {
	const in, out = recording.In, recording.Out
	for name, c := range map[string]struct {
		all  []*recording.Exchange
		want string
	}{
		"attempts one after the other": {[]*recording.Exchange{
			side(1, out, "web", "cart", "", "/a", 1, 0, 10), side(2, in, "cart", "cart", "", "/a", 1, 2, 5),
			side(3, out, "web", "cart", "", "/a", 1, 20, 10), side(4, in, "cart", "cart", "", "/a", 1, 22, 5),
		}, "1-2 3-4"},
		"a long one around a short one": {[]*recording.Exchange{
			side(1, out, "web", "cart", "", "/a", 1, 0, 100), side(2, out, "web", "cart", "", "/a", 1, 10, 10),
			side(3, in, "cart", "cart", "", "/a", 1, 11, 8), side(4, in, "cart", "cart", "", "/a", 1, 12, 80),
		}, "1-4 2-3"},
		"a gateway that passes the request on, recorded after the callee": {[]*recording.Exchange{
			side(1, out, "web", "gate", "", "/a", 1, 0, 100), side(2, in, "gate", "gate", "", "/a", 1, 10, 81),
			side(3, out, "gate", "cart", "", "/a", 1, 20, 62), side(4, in, "cart", "cart", "", "/a", 1, 30, 40),
		}, "1-2 3-4"},
		"three gateways": {[]*recording.Exchange{
			side(1, out, "web", "a", "", "/a", 1, 0, 100), side(2, in, "a", "a", "", "/a", 1, 2, 95),
			side(3, out, "a", "b", "", "/a", 1, 10, 62), side(4, in, "b", "b", "", "/a", 1, 12, 57),
			side(5, out, "b", "c", "", "/a", 1, 15, 52), side(6, in, "c", "c", "", "/a", 1, 17, 47),
		}, "1-2 3-4 5-6"},
		"one that is nearer, and of the same pod": {[]*recording.Exchange{
			side(1, out, "web", "cart", "", "/a", 1, 0, 100), side(2, in, "cart", "cart", "", "/a", 1, 10, 80),
			side(3, out, "cart", "cart", "", "/a", 1, 11, 78),
		}, "1-2"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(pairs(t, open(t, index.Options{}, place(t, c.all...))), " "); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Many equal requests in one trace take no longer than other exchanges, and each callee has its
// caller.
func TestManyCallsOfOneTrace(t *testing.T) {
	const n = 20_000
	var all []*recording.Exchange
	for i := range n {
		all = append(all, side(2*i, recording.Out, "web", "cart", "", "/a", 1, 10*i, 8), side(2*i+1, recording.In, "cart", "cart", "", "/a", 1, 10*i+2, 4))
	}
	rand.New(rand.NewSource(1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	x := open(t, index.Options{}, place(t, all...))
	calls, err := x.Calls(context.Background(), index.Filter{})
	check(t, err)
	if len(calls) != 1 || calls[0].Count != n {
		t.Errorf("%+v, want one with %d", calls, n)
	}
}

// If a filter selects only one side of a call, the call counts by that side.
func TestACallCountsByTheSideThatIsSelected(t *testing.T) {
	const in, out = recording.In, recording.Out
	secret := side(5, out, "web", "cart.shop.svc", "", "/b", 2, 50, 20)
	secret.L7Protocol = "https"
	x := open(t, index.Options{}, place(t,
		side(1, out, "web", "cart.shop.svc", "", "/a", 1, 0, 20), side(2, in, "cart", "cart.shop.svc", "10.0.0.1", "/a", 1, 5, 10),
		side(3, in, "web", "web.shop.svc", "10.0.0.9", "/w", 3, 30, 10),
		side(4, out, "cart", "db", "", "/d", 4, 40, 1),
		secret, side(6, in, "cart", "cart.shop.svc", "10.0.0.1", "/b", 2, 55, 10),
	))
	const (
		web  = "shop/web > shop/cart http 1"
		db   = "shop/cart > db http 1"
		user = "10.0.0.9 > shop/web http 1"
		tls  = "shop/web > shop/cart https 1"
	)
	for _, c := range []struct {
		filter index.Filter
		want   []string
	}{
		{index.Filter{}, []string{user, db, web, tls}},
		{index.Filter{Workload: "web"}, []string{user, web, tls}},
		{index.Filter{Workload: "cart"}, []string{db, "shop/web > shop/cart http 2"}},
		{index.Filter{Direction: in}, []string{user, "shop/web > shop/cart http 2"}},
		{index.Filter{Direction: out}, []string{db, web, tls}},
		{index.Filter{Protocol: "http"}, []string{user, db, web}},
		{index.Filter{Callee: "shop/cart"}, []string{web, tls}},
		{index.Filter{Callee: "shop/cart", Workload: "cart"}, []string{"shop/web > shop/cart http 2"}},
		{index.Filter{Caller: "shop/web", Protocol: "https"}, []string{tls}},
	} {
		calls, err := x.Calls(context.Background(), c.filter)
		check(t, err)
		var got []string
		for _, call := range calls {
			got = append(got, fmt.Sprintf("%s > %s %s %d", call.From, call.To, call.Protocol, call.Count))
			if p := list(t, x, call.Filter); p.Total != call.Count {
				t.Errorf("%+v: the filter of %s selects %d", c.filter, got[len(got)-1], p.Total)
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if diff := gocmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.filter, diff)
		}
	}
}

func TestATraceHasWhatTheRowsHaveInCommon(t *testing.T) {
	const in, out = recording.In, recording.Out
	caused := func(e *recording.Exchange, parent int) *recording.Exchange {
		e.Tags.Set(recording.TagParent, uuid(parent).String())
		e.Tags.Set(recording.TagParentBy, "x-request-id")
		return e
	}
	short := side(6, in, "prices", "prices", "", "/p", 0, 9, 1)
	short.HTTP.Req.Headers = recording.Headers{{Name: "X-B3-Traceid", Value: fmt.Sprintf("%016x", 1)}} // half of the ID
	x := open(t, index.Options{}, place(t,
		side(1, in, "web", "web", "", "/w", 1, 0, 50),
		side(2, out, "web", "cart", "", "/c", 1, 1, 40),
		side(3, in, "cart", "cart", "", "/c", 1, 2, 30),
		caused(side(4, out, "cart", "db", "", "/d", 0, 3, 5), 3), // by its cause alone
		side(5, in, "db", "db", "", "/d", 0, 4, 1),               // by nothing
		short,
		side(7, in, "web", "web", "", "/w", 2, 10, 50), // another one
	))
	for id, want := range map[int64]string{1: "1 2 3 4 6", 4: "1 2 3 4 6", 6: "1 2 3 4 6", 5: "5", 7: "7"} {
		rows, err := x.Trace(context.Background(), id)
		check(t, err)
		if got := strings.Trim(fmt.Sprint(ids(rows)), "[]"); got != want {
			t.Errorf("the trace of %d has %s, want %s", id, got, want)
		}
	}
	if p := list(t, x, index.Filter{Trace: fmt.Sprintf("%032x", 1)}); p.Total != 4 {
		t.Errorf("%d rows have the trace", p.Total)
	}
}

func TestATraceIsBounded(t *testing.T) {
	var all []*recording.Exchange
	for i := range index.MaxTrace + 500 {
		all = append(all, side(i, recording.In, "web", "web", "", "/w", 1, i, 1))
	}
	x := open(t, index.Options{}, place(t, all...))
	rows, err := x.Trace(context.Background(), 5000)
	check(t, err)
	if len(rows) != index.MaxTrace || rows[len(rows)-1].ID != int64(len(all)) {
		t.Errorf("%d rows up to %d, want the nearest %d", len(rows), rows[len(rows)-1].ID, index.MaxTrace)
	}
}
