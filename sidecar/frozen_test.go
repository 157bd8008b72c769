package sidecar

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// A frozen disk returns nothing, not even an error. Requests are answered, the metrics and the log
// show it, and the sidecar stops in time.
func TestAFrozenDisk(t *testing.T) {
	dir := t.TempDir()
	freeze, thaw := mountFreezable(t, dir)
	s := run(t, config(t), spool.Dir(dir))
	s.send(t, requests, 100, true)
	eventually(t, "all is captured", func() bool { return s.ledger(t).pending == requests })
	if s.ledger(t).up != 1 {
		t.Error("the sink is down before the disk is frozen")
	}
	freeze()
	s.send(t, requests, 100, true)
	eventually(t, "the sink is down", func() bool { return s.ledger(t).up == 0 })
	s.send(t, requests, 100, true)
	if log := s.logs.String(); !strings.Contains(log, "the store has not answered for") || !strings.Contains(log, "TAPEDECK_SINK") {
		t.Errorf("the log: %s", log)
	}
	thaw()
	eventually(t, "the sink works again", func() bool { return s.ledger(t).up == 1 })

	freeze()
	s.send(t, requests, 100, true)
	began := time.Now()
	s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), proxy.CloseTime)
	defer cancel()
	if err := s.capture.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	if took := time.Since(began); took > 2*proxy.CloseTime {
		t.Errorf("it stopped after %v", took)
	}
	thaw()
	eventually(t, "the end is written", func() bool { return s.ledger(t).stored == 4*requests })
}
