package ship

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// look completes the segments of killed processes, and lists the segments that wait.
func (s *Shipper) look() verdict {
	adopted, err := s.o.Dir.Adopt()
	found, e := s.o.Dir.Segments()
	if err = errors.Join(err, e); e != nil {
		return verdict{fate: fateRetried, reason: reasonSpool, err: err}
	}
	s.waiting, s.stale = waiting(found), false
	troubles := map[string]trouble{}
	for _, f := range s.waiting {
		if t, ok := s.troubles[f.Name]; ok {
			troubles[f.Name] = t
		}
	}
	s.troubles = troubles
	if err != nil { // the other segments can still be sent
		s.warnOnce(reasonSpool, "a segment of a killed process can't be completed yet", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stats.Failures[reasonSpool]++
	}
	s.stats.Adopted += uint64(adopted.Completed)
	s.stats.Empty += uint64(adopted.Empty)
	s.stats.SetAside += uint64(adopted.Aside)
	return verdict{}
}

// waiting returns the segments of the spool that have to be sent, newest first.
//
// A segment that is being completed has two names. It is sent only after the other name is gone,
// so that a file with that name is not taken for another segment later.
func waiting(found []spool.Segment) (all []spool.Segment) {
	open := map[string]bool{}
	for _, f := range found {
		if f.State == spool.Part {
			open[strings.TrimSuffix(f.Name, recording.PartSuffix)] = true
		}
	}
	for _, f := range slices.Backward(found) {
		if f.State == spool.Complete && !open[f.Name] {
			all = append(all, f)
		}
	}
	return all
}

// choose returns the segment to send next, newest first. A process numbers its segments, so once
// the newest is stored, each missing older one shows as a gap, even if the pod is deleted. So the
// shipper need not send a list of its segments. Segments that have often failed come after the
// others.
func (s *Shipper) choose(now time.Time) (spool.Segment, bool) {
	best, least := -1, 0
	for i, seg := range s.waiting {
		t := s.troubles[seg.Name]
		if behind := t.failures / triesBehind; !now.Before(t.until) && (best < 0 || behind < least) {
			best, least = i, behind
			if behind == 0 {
				break
			}
		}
	}
	if best < 0 {
		return spool.Segment{}, false
	}
	return s.waiting[best], true
}
