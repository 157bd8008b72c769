package mock

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/recording"
)

// After a reset, the mock answers, counts and fails as if it had just started.
func TestResetBeginsAnew(t *testing.T) {
	var all []*recording.Exchange
	for i, body := range []string{"open", "paid", "sent"} {
		all = append(all, exchange(time.Duration(i)*time.Second, "GET", "http://dep.example/order", "", 200, body))
	}
	m := start(t, all, func(o *Options) { o.Policy = order.Miss }, failing(t, "/order:rate=1/3,header=X-Fault:1"))
	run := func() (got []string) {
		c := m.client()
		for _, path := range []string{"/order", "/order", "/order", "/order", "/unknown"} {
			a := fetch(t, c, "GET", "http://dep.example"+path, "")
			if a.status != http.StatusOK {
				a.body = "MISS"
			}
			got = append(got, a.body+a.header.Get("X-Fault"))
		}
		return got
	}
	first := run()
	before := m.Reset()
	if before.Resets != 0 || before.Served != 3 || before.Missed != 2 || len(before.Misses) != 2 || before.NeverUsed != 0 || len(before.Injected) != 1 {
		t.Errorf("the receipt before: %+v", before)
	}
	fresh := m.Receipt()
	if fresh.Resets != 1 || fresh.Served+fresh.Missed != 0 || len(fresh.Misses)+len(fresh.Endpoints)+len(fresh.Injected) != 0 || fresh.NeverUsed != 3 || fresh.Loaded != 3 ||
		!slices.Equal(fresh.Faults, []fault.Count{{Rule: "/order:rate=1/3,header=X-Fault:1"}}) || fresh.Started.Before(before.Started) {
		t.Errorf("the receipt after: %+v", fresh)
	}
	if second := run(); !slices.Equal(first, second) {
		t.Errorf("%q, and after the reset %q", first, second)
	}
	if again := m.Reset(); again.Resets != 1 || again.Served != before.Served || again.Missed != before.Missed || len(again.Misses) != len(before.Misses) || len(again.Injected) != len(before.Injected) {
		t.Errorf("the second receipt: %+v", again)
	}
	other, err := fault.New(1, []string{"/order:status=504"})
	if err != nil {
		t.Fatal(err)
	}
	m.SetFaults(other)
	m.Reset()
	if a := fetch(t, m.client(), "GET", "http://dep.example/order", ""); a.status != http.StatusGatewayTimeout {
		t.Errorf("the rules that held are forgotten: %d", a.status)
	}
	if r := m.Receipt(); len(r.Faults) != 1 || r.Faults[0].Fired != 1 {
		t.Errorf("%+v", r.Faults)
	}
}

// A reset forgets all sessions, even on a connection that remains open.
func TestResetForgetsSessions(t *testing.T) {
	var all []*recording.Exchange
	for i, user := range []string{"ann", "bob"} {
		e := exchange(time.Duration(i)*time.Second, "GET", "http://dep.example/me", "", 200, user)
		e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: "Cookie", Value: "sid=" + user})
		all = append(all, e)
	}
	m := start(t, all)
	c := m.client()
	ask := func(cookie string) string {
		return fetch(t, c, "GET", "http://dep.example/me", "", "Cookie", "sid="+cookie).body
	}
	for range 2 {
		if first, second := ask("x"), ask("y"); first != "ann" || second != "bob" || ask("x") != "ann" {
			t.Errorf("x is %s, y is %s", first, second)
		}
		m.Reset()
		if first, second := ask("y"), ask("x"); first != "ann" || second != "bob" || ask("y") != "ann" {
			t.Errorf("y is %s, x is %s", first, second)
		}
		m.Reset()
	}
}

// A request in progress at a reset finishes as recorded.
func TestResetLetsConversationsFinish(t *testing.T) {
	e := exchange(0, "GET", "http://dep.example/slow", "", 200, "late")
	e.Tags = recording.Tags{{Name: recording.TagRequestEnd, Value: "0"}, {Name: recording.TagResponseStart, Value: "300000"}}
	m := start(t, []*recording.Exchange{e}, func(o *Options) { o.Latency = Latency{1, 1} })
	conn := m.dial()
	fmt.Fprint(conn, "GET http://dep.example/slow HTTP/1.1\r\nHost: dep.example\r\nConnection: close\r\n\r\n")
	for m.now.Load().chooser.Served(0) == 0 {
		time.Sleep(time.Millisecond)
	}
	m.Reset()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "late" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	if r := m.Receipt(); r.Served != 0 || r.NeverUsed != 1 {
		t.Errorf("it is counted after the reset: %+v", r)
	}
}

// Resets, new fault rules and receipts can occur at any time. They make no request fail, and no
// request is counted twice.
func TestResetUnderLoad(t *testing.T) {
	const clients, requests = 8, 100
	var all []*recording.Exchange
	for i := range 20 {
		all = append(all, exchange(time.Duration(i)*time.Second, "GET", fmt.Sprintf("http://dep.example/%d", i%5), "", 200, fmt.Sprint(i%5)))
	}
	m := start(t, all)
	var asking, resetting sync.WaitGroup
	var served atomic.Int64
	done := make(chan struct{})
	resetting.Go(func() {
		rules, err := fault.New(1, []string{"/never:status=500"})
		if err != nil {
			t.Error(err)
		}
		for resets := int64(0); ; resets++ {
			r := m.Reset()
			if r.Resets != resets {
				t.Errorf("%d resets, want %d", r.Resets, resets)
			}
			served.Add(r.Served)
			m.SetFaults(rules)
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond): // load continues meanwhile
			}
		}
	})
	for range clients {
		asking.Go(func() {
			c := m.client()
			for i := range requests {
				if a := fetch(t, c, "GET", fmt.Sprintf("http://dep.example/%d", i%5), ""); a.status != 200 || a.body != fmt.Sprint(i%5) {
					t.Errorf("%d %q", a.status, a.body)
				}
			}
		})
	}
	asking.Wait()
	close(done)
	resetting.Wait()
	served.Add(m.Receipt().Served)
	if n := served.Load(); n == 0 || n > clients*requests {
		t.Errorf("%d of %d requests are counted", n, clients*requests)
	}
}
