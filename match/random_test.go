package match_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
)

// request is a request of an invented client. It has words and numbers that say what the client
// wants, and values that are new in each request.
type request struct {
	path  string
	query map[string]string
	body  map[string]any
}

func (q request) exchange(r *rand.Rand, at time.Time) *recording.Exchange {
	body := maps.Clone(q.body)
	body["requestId"] = fmt.Sprintf("%08x-%04x-4%03x-b5ab-%012x", r.Uint32(), r.Uint32()>>16, r.Uint32()>>20, r.Uint64()>>16)
	body["sentAt"] = at.Add(time.Duration(r.IntN(1000)) * time.Millisecond).Format(time.RFC3339Nano)
	body["until"] = at.Add(24 * time.Hour).Unix()
	text, _ := json.Marshal(body)
	query := []string{fmt.Sprintf("_=%d", at.UnixMilli())}
	for _, name := range slices.Sorted(maps.Keys(q.query)) {
		query = append(query, name+"="+q.query[name])
	}
	r.Shuffle(len(query), func(i, j int) { query[i], query[j] = query[j], query[i] })
	return post(q.path+"?"+strings.Join(query, "&"), at, string(text))
}

func randomRequest(r *rand.Rand) request {
	words := strings.Fields("tea milk sugar red green blue north south list show find 17 42 3.5 true")
	word := func() string { return words[r.IntN(len(words))] }
	q := request{path: "/" + word() + "/" + word(), query: map[string]string{}, body: map[string]any{}}
	for range r.IntN(3) {
		q.query[word()] = word()
	}
	for range r.IntN(4) {
		q.body[word()] = []any{word(), r.IntN(100), r.IntN(2) == 0, []any{word(), r.IntN(9)}, map[string]any{word(): word()}}[r.IntN(5)]
	}
	return q
}

// key returns a request without the values that are new each time.
func (q request) key() string {
	text, _ := json.Marshal([]any{q.path, q.query, q.body})
	return string(text)
}

// TestRandomRequests records random requests and sends them again, months later and with new
// values. Each finds exactly those that want the same.
func TestRandomRequests(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var recorded []*recording.Exchange
		want := map[string][]match.Ref{}
		var all []request
		for i := range 300 {
			q := randomRequest(r)
			if len(all) > 0 && r.IntN(3) == 0 {
				q = all[r.IntN(len(all))]
			}
			all = append(all, q)
			e := q.exchange(r, captured.Add(time.Duration(i)*time.Second))
			e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Type", Value: "application/json"}}
			e.HTTP.Res.Body = fmt.Appendf(nil, `{"n":%d}`, i)
			recorded = append(recorded, e)
			want[q.key()] = append(want[q.key()], match.Ref(i))
		}
		m, x := indexOf(t, match.Options{}, recorded...)
		for range 300 {
			q := randomRequest(r)
			if r.IntN(2) == 0 {
				q = all[r.IntN(len(all))]
			}
			res := x.Lookup(m.Request(q.exchange(r, replayed.Add(time.Duration(r.IntN(3600))*time.Second))), nil)
			if got := refs(x, res); !slices.Equal(got, want[q.key()]) {
				t.Fatalf("seed %d: %s: %v %v, want %v", seed, q.key(), res.How, got, want[q.key()])
			}
		}
	}
}
