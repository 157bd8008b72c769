package replay

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAlarms(t *testing.T) {
	for name, newAlarm := range alarms() {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a, err := newAlarm(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer a.stop()
			for _, wait := range []time.Duration{-time.Second, 0, time.Nanosecond, 300 * time.Microsecond, 3 * time.Millisecond} {
				when := time.Now().Add(wait)
				if err := a.until(when); err != nil || time.Now().Before(when) {
					t.Errorf("%s: it went off %s early: %v", wait, time.Until(when), err)
				}
			}
			time.AfterFunc(time.Millisecond, cancel)
			for range 2 { // while it waits, and before
				if err := a.until(time.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
					t.Errorf("its context ended: %v", err)
				}
			}
			if err := a.until(time.Now()); !errors.Is(err, context.Canceled) {
				t.Errorf("it was due after its context ended: %v", err)
			}
		})
	}
}

func alarms() map[string]func(context.Context) (alarm, error) {
	return map[string]func(context.Context) (alarm, error){
		"of package time": func(ctx context.Context) (alarm, error) { return newTimer(ctx), nil },
		"exact":           newExactAlarm,
	}
}

func BenchmarkAlarms(b *testing.B) {
	for name, newAlarm := range alarms() {
		b.Run(name, func(b *testing.B) {
			a, err := newAlarm(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			defer a.stop()
			var late time.Duration
			for b.Loop() {
				when := time.Now().Add(500 * time.Microsecond)
				_ = a.until(when)
				late += time.Since(when)
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
			b.ReportMetric(0, "ns/op")
		})
	}
}
