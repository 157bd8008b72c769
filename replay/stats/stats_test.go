package stats_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/replay/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// times returns n times between a microsecond and a minute, on a logarithmic scale.
func times(rng *rand.Rand, n int) []time.Duration {
	ts := make([]time.Duration, n)
	for i := range ts {
		ts[i] = time.Duration(math.Exp(rng.Float64()*math.Log(60e6))) * time.Microsecond
	}
	return ts
}

// TestPercentilesAgainstBruteForce compares with the definition: the smallest sample such that at
// least q·n samples are not above it.
func TestPercentilesAgainstBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 4, 5, 9, 10, 19, 20, 21, 99, 100, 101, 200, 997, 999, 1000, 1001, 5000, 100_000} {
		samples := times(rng, n)
		var d stats.Distribution
		for _, s := range samples {
			d.Record(s)
		}
		slices.Sort(samples)
		for _, p := range stats.Percentiles {
			got, ok := d.Percentile(p.Quantile)
			if ok != (int64(n) >= p.Needs) {
				t.Errorf("%s of %d samples: available is %v", p.Name, n, ok)
			}
			if !ok {
				continue
			}
			want := samples[slices.IndexFunc(samples, func(x time.Duration) bool {
				atMost, _ := slices.BinarySearch(samples, x+1)
				return 100*atMost >= int(100*p.Quantile+0.5)*n
			})]
			tolerance := time.Duration(0)
			if n >= stats.ExactBelow {
				tolerance = want / 1000
			}
			if got < want || got > want+tolerance {
				t.Errorf("%s of %d samples is %v, want %v, at most %v more", p.Name, n, got, want, tolerance)
			}
		}
	}
}

// TestDistributionOfKnownSamples checks what proxymock got wrong: its p99 was below the mean.
func TestDistributionOfKnownSamples(t *testing.T) {
	var d stats.Distribution
	for _, ms := range []int{3, 2, 2, 1, 3, 429, 1, 2} {
		d.Record(time.Duration(ms) * time.Millisecond)
	}
	mean, _ := d.Mean()
	largest, _ := d.Max()
	if mean != 55_375*time.Microsecond || largest != 429*time.Millisecond {
		t.Errorf("mean %v and maximum %v, want 55.375 ms and 429 ms", mean, largest)
	}
	if p75, ok := d.Percentile(0.75); !ok || p75 != 3*time.Millisecond {
		t.Errorf("p75 is %v, %v, want 3 ms", p75, ok)
	}
	if p99, ok := d.Percentile(0.99); ok {
		t.Errorf("p99 of 8 samples is %v, want none", p99)
	}
}

func TestTimesOutOfRangeAreCounted(t *testing.T) {
	var d stats.Distribution
	for _, s := range []time.Duration{-time.Second, 0, time.Second, stats.Longest, stats.Longest + time.Second, 1<<63 - 1} {
		d.Record(s)
	}
	if d.Count() != 6 || d.OutOfRange() != 3 {
		t.Errorf("%d samples, %d out of range; want 6 and 3", d.Count(), d.OutOfRange())
	}
	smallest, _ := d.Min()
	largest, _ := d.Max()
	if smallest != 0 || largest != stats.Longest {
		t.Errorf("from %v to %v, want from 0 to %v", smallest, largest, stats.Longest)
	}
}

func TestVarianceIsThatOfTheSamples(t *testing.T) {
	for _, n := range []int{2, 10, 999, 20_000} {
		rng := rand.New(rand.NewPCG(3, uint64(n)))
		samples := times(rng, n)
		var d stats.Distribution
		var sum, squares float64
		for _, s := range samples {
			d.Record(s)
			sum += float64(s.Microseconds())
		}
		for _, s := range samples {
			squares += math.Pow(float64(s.Microseconds())-sum/float64(n), 2)
		}
		want := squares / float64(n-1)
		if got, ok := d.Variance(); !ok || math.Abs(got-want) > want/500 {
			t.Errorf("variance of %d samples is %g, want %g", n, got, want)
		}
	}
	var one stats.Distribution
	one.Record(time.Second)
	if _, ok := one.Variance(); ok {
		t.Error("one sample has a variance")
	}
}

// randomSamples returns the samples of a run over many endpoints, with stalls and failures.
func randomSamples(rng *rand.Rand, n int, length time.Duration) []stats.Sample {
	samples := make([]stats.Sample, n)
	for i := range samples {
		due := time.Duration(rng.Int64N(int64(length)))
		sent := due + time.Duration(rng.Int64N(int64(time.Millisecond)))
		done := sent + times(rng, 1)[0]
		s := stats.Sample{
			Endpoint: min(int(rng.ExpFloat64()*2), 9), Due: due, Sent: sent, Done: done, Held: time.Duration(rng.Int64N(1000)) * time.Microsecond, Recorded: times(rng, 1)[0],
			Status: []int{200, 200, 404, 500}[rng.IntN(4)], Matched: stats.Verdict(rng.IntN(4)), BytesOut: rng.Int64N(100), BytesIn: rng.Int64N(10_000),
		}
		s.Succeeded = s.Status < 500
		if rng.IntN(20) == 0 {
			s.Status, s.Succeeded, s.Failure = 0, false, []string{"timeout", "refused"}[rng.IntN(2)]
		}
		samples[i] = s
	}
	return samples
}

// measure runs samples through as many workers.
func measure(samples []stats.Sample, workers int) *stats.Result {
	run := stats.NewRun()
	for i := range 10 {
		run.Endpoint(fmt.Sprintf("GET /%d", i))
	}
	var wg sync.WaitGroup
	for w := range workers {
		local := run.Local()
		wg.Go(func() {
			for i := w; i < len(samples); i += workers {
				local.Add(samples[i])
				if i%50 == 0 {
					local.Unsent(samples[i].Endpoint, "bound")
				}
			}
		})
	}
	wg.Wait()
	r := run.Result()
	return &r
}

// TestMergedShardsEqualASingleRun divides the samples of runs among shards at random, and merges
// their results in random order. The result equals that of a single run byte for byte, including
// histograms. Sizes are around the one at which lists become histograms, and lengths around those
// at which the steps of the series widen.
func TestMergedShardsEqualASingleRun(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	for _, c := range []struct {
		n      int
		length time.Duration
	}{
		{0, time.Second}, {1, time.Second}, {50, 700 * time.Second}, {900, time.Second}, {1100, 60 * time.Second},
		{3000, time.Second}, {20_000, time.Minute}, {700, 5 * time.Hour},
	} {
		samples := randomSamples(rng, c.n, c.length)
		want := encode(t, measure(samples, 1))
		for _, of := range []int{1, 5} {
			at := make([]int, c.n)
			for i := range samples {
				at[i] = rng.IntN(of)
			}
			var merged stats.Result
			for _, i := range rng.Perm(of) {
				merged.Merge(decode(t, encode(t, measureAt(samples, at, i))))
			}
			if diff := cmp.Diff(want, encode(t, &merged)); diff != "" {
				t.Fatalf("%d samples over %v in %d shards (-single +merged):\n%s", c.n, c.length, of, diff)
			}
		}
		if diff := cmp.Diff(want, encode(t, measure(samples, 4))); diff != "" {
			t.Fatalf("%d samples over %v by 4 workers (-one +four):\n%s", c.n, c.length, diff)
		}
	}
}

// measureAt measures the samples of one shard.
func measureAt(samples []stats.Sample, at []int, shard int) *stats.Result {
	run := stats.NewRun()
	for i := range 10 {
		run.Endpoint(fmt.Sprintf("GET /%d", i))
	}
	local := run.Local()
	for i, s := range samples {
		if at[i] != shard {
			continue
		}
		local.Add(s)
		if i%50 == 0 {
			local.Unsent(s.Endpoint, "bound")
		}
	}
	r := run.Result()
	return &r
}

func encode(t *testing.T, r *stats.Result) string {
	t.Helper()
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode(t *testing.T, text string) *stats.Result {
	t.Helper()
	r := new(stats.Result)
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSeriesIsBounded(t *testing.T) {
	for _, c := range []struct {
		length time.Duration
		step   int64
	}{
		{time.Second, 1}, {600 * time.Second, 1}, {601 * time.Second, 2}, {1201 * time.Second, 4}, {24 * time.Hour, 256},
	} {
		run := stats.NewRun()
		e := run.Endpoint("GET /")
		local := run.Local()
		var sent int64
		for at := time.Duration(0); at < c.length; at += time.Second {
			local.Add(stats.Sample{Endpoint: e, Due: at, Sent: at, Done: at + time.Millisecond, Succeeded: sent%2 == 0})
			sent++
		}
		s := run.Result().Series
		if s.Step != c.step || len(s.Points) > stats.MaxPoints {
			t.Errorf("%v: %d points of %d s, want steps of %d s", c.length, len(s.Points), s.Step, c.step)
		}
		var due, done, failed, times int64
		for _, p := range s.Points {
			due += p.Due
			done += p.Done
			failed += p.Failed
			times += p.Response.Count()
		}
		if due != sent || done != sent || failed != sent/2 || times != sent {
			t.Errorf("%v: %d due, %d done, %d failed, %d times of %d requests", c.length, due, done, failed, times, sent)
		}
	}
}

// TestStallShowsWhereItWas stalls a target for a second. The requests that were due during the stall
// took up to a second, although each was answered immediately after it was sent late.
func TestStallShowsWhereItWas(t *testing.T) {
	run := stats.NewRun()
	e := run.Endpoint("GET /")
	local := run.Local()
	for i := range 3000 {
		due := time.Duration(i) * time.Millisecond
		sent := due
		if time.Second <= due && due < 2*time.Second {
			sent = 2 * time.Second
		}
		local.Add(stats.Sample{Endpoint: e, Due: due, Sent: sent, Done: sent + time.Millisecond, Status: 200, Succeeded: true})
	}
	r := run.Result()
	total := r.Total()
	response, _ := total.Response.Percentile(0.99)
	service, _ := total.Service.Percentile(0.99)
	if response < 900*time.Millisecond || service > 2*time.Millisecond {
		t.Errorf("p99 of response times %v and of service times %v, want about 1 s and 1 ms", response, service)
	}
	p50, ok := r.Series.Points[1].Response.Percentile(0.50)
	if !ok || p50 < 490*time.Millisecond || p50 > 510*time.Millisecond {
		t.Errorf("median in the stalled second is %v, want about 500 ms", p50)
	}
	if p50, _ := r.Series.Points[2].Response.Percentile(0.50); p50 > 2*time.Millisecond {
		t.Errorf("median after it is %v, want 1 ms", p50)
	}
}

func TestLiveCountsWhatWorkersHold(t *testing.T) {
	run := stats.NewRun()
	local := run.Local()
	e := run.Endpoint("GET /")
	if again := run.Endpoint("GET /"); again != e {
		t.Errorf("the endpoint is %d, and then %d", e, again)
	}
	run.Endpoint("GET /never")
	for i := range 3 {
		local.Add(stats.Sample{Endpoint: e, Done: time.Millisecond, Status: 200, Succeeded: i > 0, Matched: stats.Match})
		if live := run.Live(); live.Sent != int64(i+1) || live.Matched != int64(i+1) {
			t.Errorf("after %d samples: %+v", i+1, live)
		}
	}
	r := run.Result()
	if len(r.Endpoints) != 1 || r.Endpoints[0].Failed != 1 || r.Endpoints[0].Statuses["200"] != 3 {
		t.Errorf("the result has %d endpoints", len(r.Endpoints))
	}
}

// TestLiveWhileWorkersAdd reads the totals continuously: they only grow, and nothing is lost.
func TestLiveWhileWorkersAdd(t *testing.T) {
	run := stats.NewRun()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			local := run.Local()
			for i := range 2000 {
				local.Add(stats.Sample{Endpoint: run.Endpoint(fmt.Sprintf("GET /%d", i%3)), Done: time.Millisecond, Status: 200, Succeeded: true})
			}
		})
	}
	for before := int64(0); before < 8000; {
		sent := run.Live().Sent
		if sent < before {
			t.Fatalf("%d requests, and then %d", before, sent)
		}
		before = sent
	}
	wg.Wait()
	r := run.Result()
	if total := r.Total(); total.Sent != 8000 || total.Response.Count() != 8000 || len(r.Endpoints) != 3 {
		t.Errorf("%d requests, %d times, %d endpoints", total.Sent, total.Response.Count(), len(r.Endpoints))
	}
}

func TestAddingDoesNotAllocate(t *testing.T) {
	run := stats.NewRun()
	e := run.Endpoint("GET /")
	local := run.Local()
	add := func() {
		local.Add(stats.Sample{Endpoint: e, Done: time.Millisecond, Status: 200, Succeeded: true})
	}
	for range 10_000 {
		add()
	}
	if n := testing.AllocsPerRun(10_000, add); n >= 1 {
		t.Errorf("%v allocations for a sample", n)
	}
}

// TestForeignDistributionsAreRefused reads JSON that no distribution encodes to.
func TestForeignDistributionsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"count":     `{"count":2,"sumMicros":1,"minMicros":1,"maxMicros":1,"samplesMicros":[1]}`,
		"minimum":   `{"count":1,"sumMicros":1,"minMicros":0,"maxMicros":1,"samplesMicros":[1]}`,
		"sum":       `{"count":1,"sumMicros":9000,"minMicros":1,"maxMicros":1,"samplesMicros":[1]}`,
		"negative":  `{"count":1,"sumMicros":1,"minMicros":1,"maxMicros":1,"samplesMicros":[-1]}`,
		"range":     `{"count":1,"sumMicros":4000000000,"minMicros":4000000000,"maxMicros":4000000000,"samplesMicros":[4000000000]}`,
		"empty":     `{"count":0,"sumMicros":5,"minMicros":0,"maxMicros":0}`,
		"histogram": `{"count":1,"sumMicros":1,"minMicros":1,"maxMicros":1,"hdr":"HISTFAAA"}`,
		// of 1 to 1000000 with 2 digits
		"geometry": `{"count":0,"sumMicros":0,"minMicros":0,"maxMicros":0,"hdr":"HISTFAAAABx4nJNpmSzMwMDAxAABzFCaEUoz2X+AsQBAkgOw"}`,
	} {
		var d stats.Distribution
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s: %s was read", name, text)
		}
	}
}

func FuzzDistribution(f *testing.F) {
	for _, n := range []int{0, 1, 50, 2000} {
		var d stats.Distribution
		for _, s := range times(rand.New(rand.NewPCG(6, 7)), n) {
			d.Record(s)
		}
		b, err := json.Marshal(&d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d stats.Distribution
		if json.Unmarshal(b, &d) != nil {
			return
		}
		var count int64
		for _, n := range d.Buckets() {
			count += n
		}
		if count != d.Count() {
			t.Errorf("%d samples in buckets, of %d", count, d.Count())
		}
		low, _ := d.Min()
		for _, p := range stats.Percentiles {
			v, ok := d.Percentile(p.Quantile)
			if high, _ := d.Max(); ok && (v < low || v > high) {
				t.Errorf("%s is %v, not from %v to %v", p.Name, v, low, high)
			}
			if ok {
				low = v
			}
		}
		again, err := json.Marshal(&d)
		if err != nil {
			t.Fatal(err)
		}
		var second stats.Distribution
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatalf("%s does not read back: %v", again, err)
		}
	})
}
