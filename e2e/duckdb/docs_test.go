package duckdb

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
)

// notRun are headings whose queries are not run: for a bucket, DuckDB would download
// an extension, and the others aren't DuckDB.
var notRun = map[string]bool{"In a bucket": true, "Athena": true, "Trino": true, "ClickHouse": true}

// TestDocumentedQueries runs every query of the pages, in their order, as one session
// that was started next to `recordings`.
func TestDocumentedQueries(t *testing.T) {
	pages := []string{"../../docs/queries.md", "../../docs/recording-format.md"}
	var all []query
	for _, page := range pages {
		all = append(all, queries(t, page)...)
	}
	t.Chdir(t.TempDir())
	recorded := record(t, "recordings")
	if len(recorded.rows) < rows {
		t.Fatalf("recorded %d exchanges, want %d", len(recorded.rows), rows)
	}
	db := open(t)
	db.mustRun(t, ".read recordings/_duckdb.sql")
	ran := map[string]int{}
	for _, q := range all {
		if notRun[q.heading] {
			continue
		}
		t.Run(q.heading, func(t *testing.T) {
			n := ran[q.heading]
			ran[q.heading]++
			if n >= len(answers[q.heading]) {
				t.Fatalf("%s: nothing computes what this answers:\n%s", q.heading, q.text)
			}
			got, want := db.mustRun(t, q.text), answers[q.heading][n](recorded)
			if len(want) == 0 {
				t.Fatal("the recording has nothing that this would find")
			}
			slices.Sort(got) // rows with equal keys have no defined order
			slices.Sort(want)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nGo (-) DuckDB (+):\n%s", q.text, diff)
			}
		})
	}
	for heading, answer := range answers {
		if ran[heading] != len(answer) {
			t.Errorf("%d queries below %q, want %d", ran[heading], heading, len(answer))
		}
	}
	t.Run("what a partition leaves is all that is read", func(t *testing.T) { prune(t, db) })
}

// prune checks the page's claims about conditions on a partition.
func prune(t *testing.T, db session) {
	files, err := filepath.Glob("recordings/*/*/workload=cart/date=2026-11-22/hour=08/*.jsonl.zst")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	plan := strings.Join(db.mustRun(t, "EXPLAIN ANALYZE SELECT count(*) FROM exchanges('recordings') WHERE workload = 'cart' AND date = '2026-11-22' AND hour = 8"), "\n")
	if want := fmt.Sprintf("Total Files Read: %d ", len(files)); !strings.Contains(plan, want) {
		t.Errorf("the plan lacks %q:\n%s", want, plan)
	}
}

// query is a query of a page, or several in one block.
type query struct{ heading, text string }

// queries finds the blocks of SQL in a page.
func queries(t *testing.T, page string) (all []query) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	heading, block := "", (*strings.Builder)(nil)
	for l := range strings.Lines(string(text)) {
		switch {
		case block == nil && strings.HasPrefix(l, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(l, "#"))
		case block == nil && strings.HasPrefix(l, "```sql"):
			block = new(strings.Builder)
		case block != nil && strings.HasPrefix(l, "```"):
			all = append(all, query{heading, block.String()})
			block = nil
		case block != nil:
			block.WriteString(l)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no queries", page)
	}
	return all
}

// answers computes, by heading, the answer to each query of the pages.
var answers = map[string][]func(*written) []string{
	"DuckDB": {
		func(w *written) []string {
			return group(w, all, func(r row) []any { return list(r.Direction, r.L7Protocol) }, size)
		},
		func(w *written) []string { return []string{line(len(w.rows))} },
	},
	"Fewer files": {
		func(w *written) []string {
			return group(w, func(r row) bool { return r.Service == "cart" && r.hour >= 8 }, func(r row) []any { return list(r.hour) }, size)
		},
		func(w *written) []string {
			return group(w, func(r row) bool { return r.Service == "cart" && r.hour >= 8 }, func(r row) []any { return list() }, size)
		},
		func(w *written) []string {
			return group(w, func(r row) bool { return r.Service == "cart" }, func(r row) []any { return list() }, size)
		},
	},
	"While it is being recorded": {
		func(w *written) []string { return []string{line(len(w.rows) + w.live)} },
	},
	"While it is compacted": {
		func(w *written) []string { return []string{line(len(w.rows))} },
	},
	"What is there": {
		func(w *written) []string {
			return group(w, all, func(r row) []any {
				return list(recording.KeyPart(r.Cluster), recording.KeyPart(r.Namespace), recording.KeyPart(r.Service), r.Direction, r.L7Protocol)
			}, size, func(rows []row) any {
				return slices.MinFunc(rows, func(a, b row) int { return a.TS.Compare(b.TS) }).TS
			}, func(rows []row) any {
				return slices.MaxFunc(rows, func(a, b row) int { return a.TS.Compare(b.TS) }).TS
			})
		},
	},
	"Latency by endpoint": {
		func(w *written) []string {
			return group(w, func(r row) bool {
				return r.Direction == recording.In && (r.L7Protocol == recording.HTTP1 || r.L7Protocol == recording.HTTPS)
			}, func(r row) []any {
				return list(recording.KeyPart(r.Service), r.Command, r.Location)
			}, size, func(rows []row) any {
				return []any{percentile(rows, 0.5), percentile(rows, 0.95), percentile(rows, 0.99)}
			}, func(rows []row) any { return percentile(rows, 1) })
		},
	},
	"Calls that fail": {
		func(w *written) []string {
			return group(w, func(r row) bool {
				failed := r.Status >= "500"
				if r.L7Protocol == recording.GRPC {
					failed = r.Status != "" && r.Status != "0"
				}
				return r.Direction == recording.Out && (failed || r.Tags.Get(recording.TagIncomplete) != "")
			}, func(r row) []any {
				return list(recording.KeyPart(r.Service), r.NetworkAddress, r.L7Protocol, null(r.Status), null(r.Tags.Get(recording.TagIncomplete)))
			}, size)
		},
	},
	"Who calls whom": {
		func(w *written) []string {
			return group(w, all, func(r row) []any {
				if r.Direction == recording.In {
					return list(r.Tags.Get(recording.TagPeer), recording.KeyPart(r.Service))
				}
				return list(recording.KeyPart(r.Service), r.NetworkAddress)
			})
		},
	},
	"What a request causes": {
		func(w *written) []string {
			requests := map[string]row{}
			for _, r := range w.rows {
				requests[r.UUID.String()] = r
			}
			request := func(r row) row { return requests[r.Tags.Get(recording.TagParent)] }
			return group(w, func(r row) bool { return request(r).MsgType != "" }, func(r row) []any {
				return list(recording.KeyPart(r.Service), request(r).Command, request(r).Location, r.NetworkAddress, r.Command, r.Location)
			}, size, func(rows []row) any {
				distinct := map[recording.UUID]bool{}
				for _, r := range rows {
					distinct[request(r).UUID] = true
				}
				return len(distinct)
			}, func(rows []row) any {
				return sum(rows, func(r row) int { return int(r.Duration) })
			})
		},
	},
	"Bodies": {
		func(w *written) []string {
			r := w.rows[7]
			return []string{line(r.Location, r.Status, r.request, r.answer)}
		},
		func(w *written) []string {
			return group(w, func(r row) bool { return r.currency != "" }, func(r row) []any { return list(r.currency) }, size)
		},
	},
	"Headers": {
		func(w *written) []string {
			return group(w, func(r row) bool { return r.Direction == recording.In && r.agents != nil }, func(r row) []any { return list(null(r.agents[0])) }, size)
		},
	},
	"Traffic over time": {
		func(w *written) []string {
			return group(w, all, func(r row) []any { return list(r.TS.Truncate(5*time.Minute), r.Direction) }, size)
		},
	},
	"Conversations": {
		func(w *written) []string {
			return group(w, func(r row) bool { return r.L7Protocol == recording.GRPC }, func(r row) []any { return list(r.Location) }, func(rows []row) any {
				distinct := map[string]bool{}
				for _, r := range rows {
					distinct[cmp.Or(r.Tags.Get(recording.TagConversation), r.UUID.String())] = true
				}
				return len(distinct)
			}, func(rows []row) any { return sum(rows, func(r row) int { return r.grpc }) })
		},
		func(w *written) []string {
			frames := map[string][2]int{}
			for _, r := range w.rows {
				for _, f := range r.frames {
					n := frames[f.From+" | "+f.Type]
					frames[f.From+" | "+f.Type] = [2]int{n[0] + 1, n[1] + len(f.Data)}
				}
			}
			var out []string
			for key, n := range frames {
				bytes := any(n[1])
				if n[1] == 0 {
					bytes = nil // frames without data
				}
				out = append(out, line(key, n[0], bytes))
			}
			return out
		},
	},
	"The recording format": {
		func(w *written) []string {
			return group(w, func(r row) bool { return r.Direction == recording.Out }, func(r row) []any {
				return list(null(r.Command), null(r.Location), null(r.Status))
			}, size, func(rows []row) any { return percentile(rows, 0.95) })
		},
	},
	"Counters": {
		func(w *written) []string {
			var all left
			for _, p := range w.processes {
				all = all.plus(p.left)
			}
			return []string{line(all.recorded, all.dropped, all.filtered, all.sampledOut)}
		},
	},
	"What is missing": {
		func(w *written) []string {
			byWorkload := map[string]left{}
			for _, p := range w.processes {
				byWorkload[p.workload] = byWorkload[p.workload].plus(p.left)
			}
			var out []string
			for workload, l := range byWorkload {
				out = append(out, line(recording.KeyPart(workload), l.recorded, l.dropped, l.filtered, l.sampledOut))
			}
			return out
		},
		func(w *written) []string {
			var out []string
			for _, p := range w.processes {
				for after, missing := range p.gaps {
					out = append(out, line(recording.KeyPart(p.workload), cmp.Or(p.pod, recording.Undefined), after, missing))
				}
			}
			return out
		},
	},
}

func all(row) bool             { return true }
func list(values ...any) []any { return values }
func size(rows []row) any      { return len(rows) }

// null returns SQL's value for a member that JSON does not have.
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func sum(rows []row, of func(row) int) (n int) {
	for _, r := range rows {
		n += of(r)
	}
	return n
}

// percentile returns the smallest duration that a share q of the rows doesn't exceed.
func percentile(rows []row, q float64) int64 {
	durations := make([]int64, len(rows))
	for i, r := range rows {
		durations[i] = r.Duration
	}
	slices.Sort(durations)
	return durations[int(math.Ceil(q*float64(len(rows))))-1]
}

// group does the same as SQL's SELECT key, values … WHERE … GROUP BY ALL.
func group(w *written, where func(row) bool, key func(row) []any, values ...func([]row) any) (out []string) {
	keys, groups := map[string][]any{}, map[string][]row{}
	for _, r := range w.rows {
		if where(r) {
			k := key(r)
			keys[line(k...)] = k
			groups[line(k...)] = append(groups[line(k...)], r)
		}
	}
	for name, k := range keys {
		columns := slices.Clone(k)
		for _, v := range values {
			columns = append(columns, v(groups[name]))
		}
		out = append(out, line(columns...))
	}
	return out
}
