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

// fitInto makes the configuration fit the container's memory limit, as [contract.DivideMemory]
// divides it. 0 means no limit.
func (c *Config) fitInto(limit int64) contract.Memory {
	m := contract.DivideMemory(limit)
	if m.Limit == 0 {
		return m
	}
	c.Memory = min(c.Memory, m.Capture)
	c.Config.Memory = proxy.Memory{Buffers: m.Buffers, Sockets: m.Sockets}
	// An exchange has two bodies, which are a third longer in base64, and must fit into the
	// queue as a whole. A truncated exchange is better than none.
	c.BodyLimit = min(c.BodyLimit, int64(queueBytes(c.Memory))/3)
	return m
}

// keepInMemory bounds a sink's directory that is in memory, such as an emptyDir of medium Memory,
// because its files count as the container's memory.
func (c *Config) keepInMemory(m contract.Memory) {
	most := m.Limit / 8
	if c.SinkSize == 0 || c.SinkSize > most {
		c.SinkSize = most
	}
}

// perProcessor is the memory that each processor needs: the allocator's caches, and the buffers
// of a loop, a decoder and an encoder.
const perProcessor = 16 << 20

// limitRuntime limits the heap of Go's runtime, and the number of processors that it uses, because
// a node may have a hundred. The runtime's own variables override it.
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

// thresholds has the percentage of the limit at which each shortage begins. It ends slack
// percentage points lower.
var thresholds = [...]int64{proxy.ShedCapture: 78, proxy.HoldInbound: 86, proxy.HoldAll: 93}

const (
	slack = 10
	// plenty is the percentage of the limit below which the gauge reads the usage less often.
	plenty = 55
	// gaugeEvery is how often the gauge reads the usage at or above plenty.
	gaugeEvery = 100 * time.Millisecond
	// collectEvery is the minimum time between garbage collections that show how much of
	// the usage is garbage.
	collectEvery = time.Second
)

// gauge measures how short memory is. Most bounds of memory are static. The gauge is for usage
// that they don't cover. It implements prometheus.Collector.
type gauge struct {
	metric.Unchecked
	limit   int64
	used    func() (int64, error)
	collect func() // collects garbage and returns its memory to the system
	changed func(from, to proxy.Shortage, used int64)

	short atomic.Int32 // a proxy.Shortage
	last  atomic.Int64 // the last usage
	times [len(thresholds)]atomic.Int64

	mu        sync.Mutex
	collected time.Time
}

// Shortage returns how short memory is: measured now, or at the last measurement.
func (g *gauge) Shortage(now bool) proxy.Shortage {
	if now {
		g.look(time.Now())
	}
	return proxy.Shortage(g.short.Load())
}

// watch measures at intervals, which are longer while there is plenty of memory, until stop is
// called. It continues while the sidecar drains.
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

// look measures how short memory is.
func (g *gauge) look(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	used, err := g.used()
	if err != nil {
		return // the last measurement is the best guess
	}
	was := g.Shortage(false)
	is := g.judge(was, used)
	if is > proxy.Enough && now.Sub(g.collected) >= collectEvery { // much of the usage may be garbage
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

// judge returns how short memory is at that usage, if it was that short before.
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

// shortages has the names of the functions that are reduced.
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

// limitRemedy says how to bound the process if its memory limit can't be read.
const limitRemedy = "set GOMEMLIMIT to five eighths of the container's memory limit, such as 40MiB of 64Mi, or mount nothing over /sys/fs/cgroup"

// confine reads the container's memory limit, makes the process and its configuration fit it, and
// returns the gauge that watches it; nil: there is no limit. root is the machine's root directory.
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
