package sidecar

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
)

func TestTheConfigurationFitsTheLimit(t *testing.T) {
	for _, c := range []struct {
		limit, asked, body int64
		memory, kept       int64
		buffers, sockets   int64
	}{
		{limit: 0, asked: 64 << 20, body: 1 << 20, memory: 64 << 20, kept: 1 << 20},
		{limit: 64 << 20, asked: 64 << 20, body: 1 << 20, memory: 12 << 20, kept: 512 << 10, buffers: 4 << 20, sockets: 16 << 20},
		{limit: 64 << 20, asked: 1 << 20, body: 1 << 10, memory: 1 << 20, kept: 1 << 10, buffers: 4 << 20, sockets: 16 << 20},
		{limit: 64 << 20, asked: 0, body: 0, memory: 0, kept: 0, buffers: 4 << 20, sockets: 16 << 20},
		{limit: 1 << 30, asked: 256 << 20, body: 1 << 20, memory: 192 << 20, kept: 1 << 20, buffers: 64 << 20, sockets: 256 << 20},
	} {
		t.Run(fmt.Sprint(c.limit>>20), func(t *testing.T) {
			cfg := Config{Memory: c.asked, BodyLimit: c.body}
			cfg.fitInto(c.limit)
			if m := cfg.Config.Memory; cfg.Memory != c.memory || cfg.BodyLimit != c.kept || m.Buffers != c.buffers || m.Sockets != c.sockets {
				t.Errorf("capture %d, bodies %d, %+v", cfg.Memory, cfg.BodyLimit, m)
			}
		})
	}
}

// The parts of a limit together fit into it.
func TestThePartsOfALimitFit(t *testing.T) {
	for _, limit := range []int64{1, 1 << 20, 32 << 20, 64 << 20, 100_000_000, 1 << 30, 1 << 40} {
		m := contract.DivideMemory(limit)
		if m.Heap+m.Sockets > limit/8*7+8 || m.Capture+m.Buffers > m.Heap {
			t.Errorf("%d: %+v", limit, m)
		}
	}
}

// The gauge sheds load in order when memory runs short. It doesn't switch back and forth with each
// measurement, and garbage does not count as a shortage.
func TestShortage(t *testing.T) {
	type step struct {
		used    int64 // of 1000
		garbage int64 // the part of used that is garbage
		want    proxy.Shortage
	}
	for _, c := range []struct {
		name  string
		steps []step
		log   string
	}{
		{"plenty", []step{{0, 0, proxy.Enough}, {770, 0, proxy.Enough}}, ""},
		{"capture is shed and comes back", []step{{800, 0, proxy.ShedCapture}, {700, 0, proxy.ShedCapture}, {670, 0, proxy.Enough}}, "0→1 1→0"},
		{"all at once", []step{{990, 0, proxy.HoldAll}, {990, 0, proxy.HoldAll}, {840, 0, proxy.HoldAll}, {800, 0, proxy.HoldInbound}, {100, 0, proxy.Enough}}, "0→3 3→2 2→0"},
		{"garbage is no shortage", []step{{990, 500, proxy.Enough}}, ""},
		{"some is garbage", []step{{990, 190, proxy.ShedCapture}}, "0→1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var used, garbage int64
			var log []string
			g := &gauge{limit: 1000, used: func() (int64, error) { return used, nil },
				collect: func() { used -= garbage },
				changed: func(from, to proxy.Shortage, _ int64) { log = append(log, fmt.Sprintf("%d→%d", from, to)) }}
			now := time.Now()
			for i, s := range c.steps {
				used, garbage = s.used, s.garbage
				g.look(now.Add(time.Duration(i) * time.Minute))
				if got := g.Shortage(false); got != s.want {
					t.Errorf("step %d, %d used: %v, want %v", i, s.used, got, s.want)
				}
			}
			if got := strings.Join(log, " "); got != c.log {
				t.Errorf("told of %q, want %q", got, c.log)
			}
		})
	}
}

// Collecting garbage is costly, so not every measurement does it.
func TestGarbageIsCollectedSeldom(t *testing.T) {
	times := 0
	g := &gauge{limit: 1000, used: func() (int64, error) { return 990, nil }, collect: func() { times++ }, changed: func(_, _ proxy.Shortage, _ int64) {}}
	now := time.Now()
	for i := range 21 {
		g.look(now.Add(time.Duration(i) * 100 * time.Millisecond))
	}
	if times != 3 {
		t.Errorf("collected %d times in two seconds", times)
	}
	if g.times[proxy.ShedCapture].Load() != 1 || g.times[proxy.HoldAll].Load() != 1 {
		t.Errorf("counted more than one shortage")
	}
}

// A measurement that fails changes nothing.
func TestAGaugeThatCannotLook(t *testing.T) {
	used, err := int64(800), error(nil)
	g := &gauge{limit: 1000, used: func() (int64, error) { return used, err }, collect: func() {}, changed: func(_, _ proxy.Shortage, _ int64) {}}
	g.look(time.Now())
	used, err = 0, errors.New("no file")
	g.look(time.Now())
	if got := g.Shortage(true); got != proxy.ShedCapture {
		t.Errorf("%v", got)
	}
}
