package meet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// listed is the content of a run's folder.
type listed struct {
	names map[string]bool
	parts []partState
}

// partState says which objects a part has.
type partState struct {
	markers  map[int]time.Time // when each was stored, by attempt
	progress int               // number of the latest sign of life, or -1 if there is none
	result   bool
	failed   bool // a process has stored why it failed
}

// news reports whether a part has an object that it did not have before.
func (p *partState) news(before *partState) bool {
	return p.progress > before.progress || len(p.markers) > len(before.markers) || p.result && !before.result
}

func (m *Meeting) list(ctx context.Context) (*listed, error) {
	var all *listed
	err := m.retried(ctx, "list", "", func(ctx context.Context) error {
		all = &listed{map[string]bool{}, make([]partState, m.o.Of)}
		for i := range all.parts {
			all.parts[i] = partState{markers: map[int]time.Time{}, progress: -1}
		}
		n := 0
		for o, err := range m.o.Store.List(ctx, m.key("")) {
			if errors.Is(err, fs.ErrNotExist) { // storing the first file creates the directory
				break
			}
			if err != nil && strings.HasPrefix(o.Key, m.key("")) { // about one entry, such as a link that leaves the place
				m.tell(o.Key, err)
				continue
			}
			if err != nil {
				return err
			}
			if n++; n > maxObjects {
				return fmt.Errorf("%s: %w: there are more than %d objects", m.o.Run, errForeign, maxObjects)
			}
			all.add(strings.TrimPrefix(o.Key, m.key("")), o.Modified)
		}
		return nil
	})
	return all, err
}

func (l *listed) add(name string, modified time.Time) {
	l.names[name] = true
	kind, index, n, ok := parseName(name)
	if !ok || index >= len(l.parts) {
		return
	}
	p := &l.parts[index]
	switch kind {
	case "shard":
		p.markers[n] = modified
	case "progress":
		p.progress = max(p.progress, n)
	case "result":
		p.result = true
	case "failed":
		p.failed = true
	}
}

// wait measures how long each part has stored nothing.
type wait struct {
	last  *listed
	since []time.Time
}

func (m *Meeting) newWait() *wait {
	w := &wait{since: make([]time.Time, m.o.Of)}
	for i := range w.since {
		w.since[i] = time.Now()
	}
	return w
}

// look returns the wanted parts that stored something within patience. The others are not worth
// waiting for.
func (w *wait) look(all *listed, patience time.Duration, wanted func(index int) bool) (missing []int) {
	for i := range all.parts {
		if w.last != nil && all.parts[i].news(&w.last.parts[i]) {
			w.since[i] = time.Now()
		}
		if wanted(i) && time.Since(w.since[i]) < patience {
			missing = append(missing, i)
		}
	}
	w.last = all
	return missing
}
