package main

import (
	"fmt"
	"time"
)

func printRequests(rows []row) {
	fmt.Printf("Requests: %d keep-alive connections, answers of %d bytes\n\n", connections, answerBytes)
	fmt.Printf("  %-28s %14s %10s %10s\n", "", "per CPU-second", "CPU each", "recorded")
	for _, r := range rows {
		fmt.Printf("  %-28s %14.0f %7.1f µs %10s\n", r.name, r.perCPU, 1e6/r.perCPU, share(r.recorded))
	}
	fmt.Println()
}

func printLatency(rows []row) {
	fmt.Printf("Latency: %d requests per second, open loop, from when each was due\n\n", rate)
	fmt.Printf("  %-28s %9s %9s %13s %10s %9s %10s\n", "", "median", "p99", "added median", "added p99", "CPU", "recorded")
	base := rows[0]
	for _, r := range rows {
		added, added99 := "", ""
		if r.name != none {
			added, added99 = micros(r.median-base.median), micros(r.p99-base.p99)
		}
		fmt.Printf("  %-28s %9s %9s %13s %10s %7.1f%% %10s\n", r.name, micros(r.median), micros(r.p99), added, added99, 100*r.cpu, share(r.recorded))
	}
	fmt.Println()
}

func printBulk(rows []row) {
	fmt.Printf("Bulk: answers of %d MiB on %d connections\n\n", bulkBytes>>20, bulkConns)
	fmt.Printf("  %-28s %18s\n", "", "MiB per CPU-second")
	for _, r := range rows {
		fmt.Printf("  %-28s %18.0f\n", r.name, r.perCPU)
	}
	fmt.Println()
}

func printMemory(rows []row) {
	fmt.Printf("Resident memory: %d connections without a pause, and %d idle ones\n\n", busyConns, idleCount())
	fmt.Printf("  %-28s %10s %10s %10s %10s\n", "", "busy", "busy, peak", "idle", "recorded")
	for _, r := range rows {
		fmt.Printf("  %-28s %10s %10s %10s %10s\n", r.name, mib(r.busy), mib(r.peak), mib(r.idle), share(r.recorded))
	}
	fmt.Println()
}

func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func share(v float64) string {
	if v < 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f%%", 100*v)
}

// goal is one goal: a figure of a row, by itself or as a ratio to that of another row.
type goal struct {
	text   string
	table  string
	ours   string
	theirs string // "": no ratio
	value  func(row) float64
	limit  float64
	atMost bool
}

func perCPU(r row) float64 { return r.perCPU }

var goals = []goal{
	{"requests per CPU-second, capture on, of nginx's", requestsTable, capturing, nginx, perCPU, 1, false},
	{"requests per CPU-second, capture on, of goproxy's", requestsTable, capturingF, goproxyRow, perCPU, 3, false},
	{"requests per CPU-second, capture on, of mitmproxy's", requestsTable, capturingF, mitmproxy, perCPU, 50, false},
	{"added median latency, capture on, of HAProxy's", latencyTable, capturing, haproxy, func(r row) float64 { return float64(r.median) }, 1.2, true},
	{"bulk per CPU-second, capture on, of HAProxy's", bulkTable, capturing, haproxy, perCPU, 0.8, false},
	{"MiB resident at 1,000 busy connections", memoryTable, capturing, "", func(r row) float64 { return float64(r.busy) / (1 << 20) }, 27, true},
}

func printGoals(measured results) {
	fmt.Printf("  %-54s %9s %9s\n", "goal", "wanted", "measured")
	for _, g := range goals {
		value, ok := g.measure(measured)
		if !ok {
			continue // not run, or nothing to compare with
		}
		sign, verdict := "≥", "reached"
		if g.atMost {
			sign = "≤"
		}
		if value < g.limit && !g.atMost || value > g.limit && g.atMost {
			verdict = "not reached"
		}
		fmt.Printf("  %-54s %9s %9.2f  %s\n", g.text, fmt.Sprintf("%s %g", sign, g.limit), value, verdict)
	}
}

func (g *goal) measure(measured results) (float64, bool) {
	find := func(name string) (row, bool) {
		for _, r := range measured[g.table] {
			if r.name == name {
				return r, true
			}
		}
		return row{}, false
	}
	ours, ok := find(g.ours)
	if !ok || g.theirs == "" {
		return g.value(ours), ok
	}
	theirs, ok := find(g.theirs)
	if !ok {
		return 0, false
	}
	if g.table == latencyTable { // compare what is added to the latency without a proxy
		direct, _ := find(none)
		return (g.value(ours) - g.value(direct)) / (g.value(theirs) - g.value(direct)), true
	}
	return g.value(ours) / g.value(theirs), true
}
