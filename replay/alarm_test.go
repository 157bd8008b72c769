package replay

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAlarms(t *testing.T) {
	exact, err := newExactAlarm()
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]alarm{"of package time": newTimer(), "exact": exact} {
		t.Run(name, func(t *testing.T) {
			defer a.stop()
			for _, wait := range []time.Duration{-time.Second, 0, time.Nanosecond, 300 * time.Microsecond, 3 * time.Millisecond} {
				when := time.Now().Add(wait)
				if err := a.until(t.Context(), when); err != nil || time.Now().Before(when) {
					t.Errorf("%s: it went off %s early: %v", wait, time.Until(when), err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			for range 2 { // first while it waits, then before
				if err := a.until(ctx, time.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
					t.Errorf("its context ended: %v", err)
				}
			}
			if err := a.until(ctx, time.Now()); !errors.Is(err, context.Canceled) {
				t.Errorf("it was due when its context ended: %v", err)
			}
			when := time.Now().Add(time.Millisecond)
			if err := a.until(t.Context(), when); err != nil || time.Now().Before(when) {
				t.Errorf("it is used again: it went off %s early: %v", time.Until(when), err)
			}
		})
	}
}

func BenchmarkAlarms(b *testing.B) {
	exact, err := newExactAlarm()
	if err != nil {
		b.Fatal(err)
	}
	for name, a := range map[string]alarm{"of package time": newTimer(), "exact": exact} {
		b.Run(name, func(b *testing.B) {
			defer a.stop()
			var late time.Duration
			for b.Loop() {
				when := time.Now().Add(500 * time.Microsecond)
				_ = a.until(b.Context(), when)
				late += time.Since(when)
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
			b.ReportMetric(0, "ns/op")
		})
	}
}
