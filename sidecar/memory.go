package sidecar

import (
	"context"
	"io/fs"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/proxy/metric"
)

// fitInto makes a configuration fit the memory that the container may hold, see
// [contract.DivideMemory]; 0: it has no limit.
func (c *Config) fitInto(limit int64) contract.Memory {
	m := contract.DivideMemory(limit)
	if m.Limit == 0 {
		return m
	}
	c.Memory = min(c.Memory, m.Capture)
	c.Config.Memory = proxy.Memory{Buffers: m.Buffers, Sockets: m.Sockets}
	// An exchange has two bodies, which are a third longer in base64, and goes
	// through the queue as a whole. One that is cut is better than none.
	c.BodyLimit = min(c.BodyLimit, int64(queueBytes(c.Memory))/3)
	return m
}

// keepInMemory bounds a sink's directory that takes memory, such as an emptyDir of
// medium Memory: the container pays for what is in it.
func (c *Config) keepInMemory(m contract.Memory) {
	most := m.Limit / 8
	if c.SinkSize == 0 || c.SinkSize > most {
		c.SinkSize = most
	}
}

// perProcessor is the memory that each processor costs beside its work: caches of
// the allocator, a loop's buffers, a decoder's and an encoder's.
const perProcessor = 16 << 20

// limitRuntime has Go's runtime keep to its part, unless its own variables say
// otherwise: a node may have a hundred processors, and each would take a share.
func limitRuntime(m contract.Memory, getenv func(string) string) {
	if m.Limit == 0 {
		return
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(m.Heap)
	}
	if most := int(max(1, m.Limit/perProcessor)); getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > most {
		runtime.GOMAXPROCS(most)
	}
}

// thresholds say at which part of the limit, in per cent, each shortage begins.
// It ends slack per cent lower.
var thresholds = [...]int64{proxy.ShedCapture: 78, proxy.HoldInbound: 86, proxy.HoldAll: 93}

const (
	slack = 10
	// plenty is the part of the limit, in per cent, up to which there is plenty.
	plenty = 55
	// gaugeEvery is how often it is looked how much is used, where it isn't plenty.
	gaugeEvery = 100 * time.Millisecond
	// collectEvery is how often at most garbage is collected to find out what of
	// it is.
	collectEvery = time.Second
)

// gauge tells how short memory is. Most of the bounds are static; it is for what
// they don't foresee. It implements prometheus.Collector.
type gauge struct {
	metric.Unchecked
	limit   int64
	used    func() (int64, error)
	collect func() // gives garbage back to the system
	changed func(from, to proxy.Shortage, used int64)

	short atomic.Int32 // a proxy.Shortage
	last  atomic.Int64 // what was used
	times [len(thresholds)]atomic.Int64

	mu        sync.Mutex
	collected time.Time
}

// Shortage tells how short memory is: now, or as it was found lately.
func (g *gauge) Shortage(now bool) proxy.Shortage {
	if now {
		g.look(time.Now())
	}
	return proxy.Shortage(g.short.Load())
}

// watch looks from time to time, seldom while there is plenty, until stop is
// called: while the sidecar drains, too.
func (g *gauge) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() {
		timer := time.NewTimer(gaugeEvery)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-timer.C:
				g.look(now)
			}
			wait := gaugeEvery
			if g.last.Load() < g.limit/100*plenty {
				wait *= 5
			}
			timer.Reset(wait)
		}
	})
	return func() { cancel(); watching.Wait() }
}

// look finds out how short memory is.
func (g *gauge) look(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	used, err := g.used()
	if err != nil {
		return // what was known last is the best guess
	}
	was := g.Shortage(false)
	is := g.judge(was, used)
	if is > proxy.Enough && now.Sub(g.collected) >= collectEvery { // it may be garbage
		g.collect()
		g.collected = now
		if after, err := g.used(); err == nil {
			used = after
			is = g.judge(was, used)
		}
	}
	g.last.Store(used)
	if is == was {
		return
	}
	g.short.Store(int32(is))
	for s := was + 1; s <= is; s++ {
		g.times[s].Add(1)
	}
	g.changed(was, is, used)
}

// judge returns how short memory is when so much is used.
func (g *gauge) judge(was proxy.Shortage, used int64) (is proxy.Shortage) {
	for s := proxy.ShedCapture; s <= proxy.HoldAll; s++ {
		at := thresholds[s]
		if was >= s {
			at -= slack
		}
		if used >= g.limit/100*at {
			is = s
		}
	}
	return is
}

var (
	descMemLimit = metric.Desc("memory_limit_bytes", "Memory limit of the container.")
	descMemUsed  = metric.Desc("memory_used_bytes", "Memory of the container that the kernel can't reclaim, including socket buffers.")
	descMemShort = metric.Desc("memory_shortage", "1 while this is reduced because memory is short.", "gives")
	descMemTimes = metric.Desc("memory_shortages_total", "Times that this was reduced because memory was short.", "gives")
)

// shortages name what gives way.
var shortages = [...]string{proxy.ShedCapture: "capture", proxy.HoldInbound: "inbound_connections", proxy.HoldAll: "outbound_connections"}

// Collect implements prometheus.Collector.
func (g *gauge) Collect(ch chan<- prometheus.Metric) {
	metric.Gauge(ch, descMemLimit, g.limit)
	metric.Gauge(ch, descMemUsed, g.last.Load())
	for s := proxy.ShedCapture; s <= proxy.HoldAll; s++ {
		on := 0
		if g.Shortage(false) >= s {
			on = 1
		}
		metric.Gauge(ch, descMemShort, on, shortages[s])
		metric.Counter(ch, descMemTimes, g.times[s].Load(), shortages[s])
	}
}

// limitRemedy says what bounds the process where its limit can't be found out.
const limitRemedy = "set GOMEMLIMIT to five eighths of the container's memory limit, such as 40MiB of 64Mi, or mount nothing over /sys/fs/cgroup"

// confine finds the container's limit in the machine's root directory, makes the process and its configuration
// fit it, and returns what watches that; nil: there is no limit.
func confine(cfg *Config, root fs.FS, getenv func(string) string, log *slog.Logger) *gauge {
	c, err := openCgroup(root)
	if err != nil && getenv("GOMEMLIMIT") == "" {
		log.Warn("can't read the memory limit: only capture is bounded", proxy.LogError, err, "remedy", limitRemedy)
	}
	if c == nil {
		return nil
	}
	asked := cfg.Memory
	m := cfg.fitInto(c.limit)
	limitRuntime(m, getenv)
	if inMemory(cfg.Sink) {
		cfg.keepInMemory(m)
	}
	log.Info("memory is limited", "limit", m.Limit, "heap", m.Heap, "capture", cfg.Memory, "asked", asked, "body_limit", cfg.BodyLimit, "sink_size", cfg.SinkSize)
	if m.Limit < contract.MinMemoryLimit {
		log.Warn("the memory limit is too small: the kernel may kill the process", "limit", m.Limit, "wants_at_least", contract.MinMemoryLimit)
	}
	g := &gauge{limit: c.limit, used: c.used, collect: debug.FreeOSMemory, changed: func(from, to proxy.Shortage, used int64) {
		if to > from {
			log.Warn("memory is short: "+to.String(), "used", used, "limit", c.limit)
		} else {
			log.Info("memory is less short: "+to.String(), "used", used, "limit", c.limit)
		}
	}}
	cfg.Config.Memory.Shortage = g.Shortage
	return g
}
