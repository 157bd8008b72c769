package index_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/view/index"
)

func TestAHostileRecordingIsARecording(t *testing.T) {
	ctx := context.Background()
	long := strings.Repeat("x", 1<<20)
	with := func(n int, change func(e *recording.Exchange)) *recording.Exchange {
		e := exchange(n, "GET", "/a", 200)
		change(e)
		return e
	}
	all := []*recording.Exchange{
		with(1, func(e *recording.Exchange) { e.HTTP.Req.Host, e.Command = "a\x00b\x1b[31m", "G\nT\x00" }),
		with(2, func(e *recording.Exchange) {
			e.HTTP.Req.URI, e.HTTP.Req.Host, e.Service, e.Location = "/"+long, long, long, "/"+long
		}),
		with(3, func(e *recording.Exchange) { e.TS = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC) }),
		with(4, func(e *recording.Exchange) { e.TS = time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC) }),
		with(5, func(e *recording.Exchange) { e.Duration = math.MaxInt64 }),
		with(6, func(e *recording.Exchange) { e.Duration = math.MinInt64 }),
		with(7, func(e *recording.Exchange) { e.UUID = uuid(1) }),
		with(8, func(e *recording.Exchange) { e.UUID = recording.UUID{} }),
		with(9, func(e *recording.Exchange) { e.HTTP = nil; e.Command, e.Location = "", "" }),
		with(10, func(e *recording.Exchange) { e.HTTP.Res.StatusCode = math.MaxInt32 }),
		with(11, func(e *recording.Exchange) { e.HTTP.Res.StatusCode = -500 }),
		with(12, func(e *recording.Exchange) { e.HTTP.Res.Body = []byte("\xff\xfe\x00binary text\x00\xff " + long) }),
		with(13, func(e *recording.Exchange) {
			e.HTTP.Res.Headers, e.HTTP.Res.Body = recording.Headers{{Name: "Content-Encoding", Value: "gzip, br, zstd, nothing"}}, []byte("garbled")
		}),
		with(14, func(e *recording.Exchange) { e.Tags.Set(recording.TagParent, uuid(14).String()) }), // its own cause
		with(15, func(e *recording.Exchange) {
			e.TCP = &recording.Conversation{Part: math.MaxInt, ClientBytes: -1, ServerBytes: math.MaxInt64, Messages: []recording.Message{{From: "nobody", At: -1, Size: -1}}}
		}),
		with(16, func(e *recording.Exchange) { e.Status, e.L7Protocol = "99999999999999999999", recording.GRPC }),
		with(17, func(e *recording.Exchange) { e.Namespace = "'; DROP TABLE part; --" }),
	}
	x := open(t, index.Options{}, place(t, all...))
	p := list(t, x, index.Filter{})
	if p.Total != int64(len(all)) {
		t.Fatalf("%d rows of %d exchanges", p.Total, len(all))
	}
	for _, r := range p.Rows {
		if len(r.Path) > 4<<10 || len(r.Host) > 4<<10 || r.Duration < 0 || r.RequestSize < 0 {
			t.Errorf("row %d is not bounded", r.ID)
		}
		if _, err := x.Exchange(ctx, r.ID); err != nil {
			t.Errorf("exchange %d: %v", r.ID, err)
		}
		if _, err := x.Trace(ctx, r.ID); err != nil {
			t.Errorf("trace of %d: %v", r.ID, err)
		}
	}
	for _, f := range []index.Filter{{Namespace: "'; DROP TABLE part; --"}, {Text: "binary"}, {Host: "\x1b["}, {Text: "garbled"}, {From: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}} {
		if p := list(t, x, f); p.Total != 1 {
			t.Errorf("%+v selects %d rows", f, p.Total)
		}
	}
	for _, ask := range []func() error{
		func() error { _, err := x.Calls(ctx, index.Filter{}); return err },
		func() error { _, err := x.Endpoints(ctx, index.Filter{}); return err },
		func() error { _, err := x.Facets(ctx, index.Filter{}); return err },
	} {
		if err := ask(); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEmptyRecordingHasAPage(t *testing.T) {
	ctx := context.Background()
	x, err := index.Open(ctx, index.Options{Dir: t.TempDir()}, read.Query{Direction: recording.Out}, place(t, exchange(1, "GET", "/a", 200)))
	check(t, err)
	defer x.Close()
	for _, by := range columns {
		p, err := x.List(ctx, index.Filter{Text: "a", Path: "b", From: begin}, index.Sort{By: by, Descending: true}, "", 10)
		if err != nil || p.Total != 0 || p.Next != "" || p.Previous != "" {
			t.Errorf("%s: %+v, %v", by, p, err)
		}
	}
	calls, err := x.Calls(ctx, index.Filter{})
	if err != nil || len(calls) != 0 {
		t.Errorf("calls %v, %v", calls, err)
	}
}

func TestAWrongQuestionIsAnErrorThatSaysWhatIsAllowed(t *testing.T) {
	ctx := context.Background()
	x := open(t, index.Options{}, place(t, randomExchanges(30)...))
	p, err := x.List(ctx, index.Filter{Method: "GET"}, index.Sort{}, "", 5)
	check(t, err)
	for name, c := range map[string]struct {
		ask  func() error
		want error
		says string
	}{
		"status":                     {func() error { _, err := x.List(ctx, index.Filter{Status: "6oo"}, index.Sort{}, "", 5); return err }, index.ErrFilter, "a class such as 5xx"},
		"status 0":                   {func() error { _, err := x.Facets(ctx, index.Filter{Status: "0"}); return err }, index.ErrFilter, "a class such as 5xx"},
		"sort":                       {func() error { _, err := x.List(ctx, index.Filter{}, index.Sort{By: "id; DROP"}, "", 5); return err }, index.ErrFilter, "start or one of duration"},
		"limit":                      {func() error { _, err := x.List(ctx, index.Filter{}, index.Sort{}, "", 0); return err }, index.ErrFilter, "1 to 1000"},
		"cursor":                     {func() error { _, err := x.List(ctx, index.Filter{}, index.Sort{}, "'", 5); return err }, index.ErrCursor, "first page"},
		"a cursor of another filter": {func() error { _, err := x.List(ctx, index.Filter{}, index.Sort{}, p.Next, 5); return err }, index.ErrCursor, "first page"},
		"a cursor of another sort": {func() error {
			_, err := x.List(ctx, index.Filter{Method: "GET"}, index.Sort{By: index.ByPath}, p.Next, 5)
			return err
		}, index.ErrCursor, "first page"},
	} {
		if err := c.ask(); err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAQueryEndsWithItsContext(t *testing.T) {
	x := open(t, index.Options{}, place(t, randomExchanges(30)...))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, ask := range map[string]func() error{
		"list": func() error {
			_, err := x.List(ctx, index.Filter{Text: "a"}, index.Sort{By: index.ByPath}, "", 5)
			return err
		},
		"calls":     func() error { _, err := x.Calls(ctx, index.Filter{}); return err },
		"endpoints": func() error { _, err := x.Endpoints(ctx, index.Filter{}); return err },
		"facets":    func() error { _, err := x.Facets(ctx, index.Filter{}); return err },
		"trace":     func() error { _, err := x.Trace(ctx, 1); return err },
		"exchange":  func() error { _, err := x.Exchange(ctx, 1); return err },
	} {
		if err := ask(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
