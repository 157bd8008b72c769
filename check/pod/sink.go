package pod

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/oneline"
	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/sidecar/ship"
)

// sink judges whether recordings reach their destination.
func (s *seen) sink() (all []finding) {
	up, ok := s.metrics.sum("tapedeck_sink_up")
	if !ok {
		return lacks("whether its sink works")
	}
	if s.status != nil && s.status.Sink != nil && s.status.Sink.Error != "" {
		all = append(all, finding{check.Problem, fmt.Sprintf("the directory %s can't be written, and what is captured is lost: %s", oneline.Text(s.status.Sink.Directory, maxQuoted), oneline.Text(s.status.Sink.Error, status.MaxText)),
			"fix the volume that is mounted there; the sidecar continues by itself once it can write"})
	}
	if s.ships() {
		return append(all, s.collector(up == 1)...)
	}
	if len(all) > 0 {
		return all
	}
	where := "the pod's directory"
	if s.status != nil && s.status.Sink != nil {
		where += " " + oneline.Text(s.status.Sink.Directory, maxQuoted)
	}
	written, _ := s.metrics.sum("tapedeck_exchanges_stored_total")
	pending, _ := s.metrics.sum("tapedeck_exchanges_pending")
	switch {
	case up == 0:
		return []finding{{check.Problem, where + " can't be written, and what is captured is lost", "fix the volume that is mounted there; the error is in " + s.logs()}}
	case written+pending == 0:
		return []finding{{check.Unknown, "nothing was written to " + where + " yet", s.sendOne()}}
	}
	return []finding{{check.OK, fmt.Sprintf("%s gets the recordings, and is deleted with the pod: %s in complete segments, %.0f pending", where, number(written, "exchange"), pending), ""}}
}

// ships reports whether there is a collector. Only a sidecar with a collector counts waiting
// segments.
func (s *seen) ships() bool {
	if s.status != nil && s.status.Sink != nil {
		return s.status.Sink.Collector != nil
	}
	_, ok := s.metrics.sum("tapedeck_spool_segments")
	return ok
}

// collector judges whether the collector accepts segments.
func (s *seen) collector(up bool) []finding {
	shipped, failures := s.count("tapedeck_segments_shipped_total"), s.count("tapedeck_ship_failures_total")
	waiting, _ := s.metrics.sum("tapedeck_spool_segments")
	pending, _ := s.metrics.sum("tapedeck_exchanges_pending")
	what, last, failed := "the collector", time.Time{}, (*status.Failure)(nil)
	if s.status != nil && s.status.Sink != nil {
		if c := s.status.Sink.Collector; c != nil {
			what += " " + oneline.Text(c.URL, 2*maxQuoted)
			last, failed = c.Stored, c.Failed
		}
	}
	waits := fmt.Sprintf("; %s and %s wait", number(waiting, "complete segment"), number(pending, "exchange"))
	failing := failed != nil && failed.Time.After(last)
	if s.status == nil { // an older sidecar reports only lasting failures and its counters
		failing = failures.all > 0 && (!up || shipped.all == 0)
	}
	if failing {
		return s.unshipped(what, up, failed, failures, waits)
	}
	switch {
	case shipped.all == 0:
		return []finding{{check.Unknown, "nothing was sent to " + what + " yet" + waits,
			"check again when a segment is complete: five minutes after its first exchange, or with 64 MiB. Pending exchanges are not sent before that"}}
	case !last.IsZero():
		return []finding{{check.OK, fmt.Sprintf("%s stored %s, the last %s%s", what, s.times(shipped, "segment"), s.when(last), waits), ""}}
	}
	return []finding{{check.OK, fmt.Sprintf("%s stored %s%s", what, s.times(shipped, "segment"), waits), ""}}
}

// unshipped explains why a collector accepts nothing.
func (s *seen) unshipped(what string, up bool, failed *status.Failure, failures count, waits string) []finding {
	state := check.Partly // the failure may be temporary
	if !up {
		state = check.Problem
	}
	if failed != nil {
		return []finding{{state, fmt.Sprintf("%s did not accept what was sent, %s: %s%s", what, s.when(failed.Time), oneline.Text(failed.Error, status.MaxText), waits), s.shipFix(failed.Reason)}}
	}
	// An older sidecar reports the reasons, but not which came last.
	reasons := s.metrics.values("tapedeck_ship_failures_total", "reason")
	if len(reasons) == 1 {
		return []finding{{state, fmt.Sprintf("%s did not accept what was sent, for the reason %s: %s%s", what, list(reasons), s.times(failures, "attempt"), waits), s.shipFix(reasons[0])}}
	}
	return []finding{{state, fmt.Sprintf("%s does not accept what is sent; the reasons since the start are %s: %s%s", what, list(reasons), s.times(failures, "attempt"), waits), "the last one, and what to do, are in " + s.logs()}}
}

// shipFix returns the fix for a reason of package ship.
func (s *seen) shipFix(code string) string {
	for _, r := range ship.Reasons() {
		if r.Code == code {
			return r.Doc
		}
	}
	return "the reason, and what to do, are in " + s.logs()
}

// losses are the ways in which traffic that should be captured is missing from the recording. A
// label has the reason.
var losses = []struct {
	metric, reason string // "" for all reasons
	shipped        bool   // it is a loss only if there is a collector
	state          check.State
	noun, found    string
	fix            string
}{
	{"exchanges_dropped_total", "queue_full", false, check.Partly, "exchange", "lost, because too many waited for the sink", "see whether the sink is slow; " + raiseMemory},
	{"exchanges_dropped_total", "store_failed", false, check.Problem, "exchange", "lost, because the sink could not be written", "fix the sink: see above"},
	{"exchanges_dropped_total", "too_large", false, check.Partly, "exchange", "lost, because they are larger than a record may be", "lower the option bodyLimit, so that less of each body is recorded"},
	{"exchanges_dropped_total", "too_many_at_once", false, check.Partly, "exchange", "lost, because a connection had more at once than the sidecar can put together", raiseMemory},
	{"exchanges_dropped_total", "bytes_lost", false, check.Partly, "exchange", "lost, because bytes of them were dropped", raiseMemory + ", or filter what is captured (docs/filters.md)"},
	{"exchanges_dropped_total", "decoder_panic", false, check.Problem, "exchange", "lost, because a decoder crashed", "report the bug, with the stack in the sidecar's log"},
	{"exchanges_dropped_total", "redact_panic", false, check.Problem, "exchange", "lost, because the search for secrets crashed", "report the bug, with the stack in the sidecar's log"},
	{"exchanges_dropped_total", "closed", false, check.Partly, "exchange", "lost, because they came after the recording was closed", "no change is needed in a running pod; otherwise give the pod a longer terminationGracePeriodSeconds"},
	{"exchanges_dropped_total", "", false, check.Partly, "exchange", "lost for a reason that this check doesn't know", "look for it in the sidecar's log"},

	{"tap_dropped_bytes_total", "tap_full", false, check.Partly, "byte", "not captured, because decoders were slower than the traffic", raiseMemory + ", and the annotation " + contract.SidecarPrefix + "cpu-limit if there is one"},
	{"tap_dropped_bytes_total", "memory_short", false, check.Partly, "byte", "not captured, because memory was short", raiseMemory},
	{"tap_dropped_bytes_total", "decoder_panic", false, check.Problem, "byte", "not captured, because a decoder crashed", "report the bug, with the stack in the sidecar's log"},
	{"tap_dropped_bytes_total", "shutdown", false, check.Partly, "byte", "not captured, because they came while the sidecar stopped", "give the pod a longer terminationGracePeriodSeconds"},
	{"tap_dropped_bytes_total", "", false, check.Partly, "byte", "not captured for a reason that this check doesn't know", "look for it in the sidecar's log"},

	{"undecoded_bytes_total", "malformed", false, check.Partly, "byte", "not decoded, because their connection did not keep to the protocol that it began with", "see in the sidecar's log which connections these are; " + leaveOut},
	{"undecoded_bytes_total", "bytes_lost", false, check.Partly, "byte", "not decoded, because bytes before them were dropped", raiseMemory},
	{"undecoded_bytes_total", "no_memory", false, check.Partly, "byte", "not decoded, because there was no memory for the state of the protocol", raiseMemory},
	{"undecoded_bytes_total", "", false, check.Partly, "byte", "not decoded for a reason that this check doesn't know", "look for it in the sidecar's log"},

	{"segments_removed_total", "", true, check.Partly, "segment", "lost, because they made room for new ones before the collector had them", "fix the connection to the collector: see above; or raise the option sinkSize"},
	{"segments_set_aside_total", "", false, check.Problem, "segment", "set aside in the pod, because they can't be read, or the collector will never accept them", "the sidecar's log has the reason; docs/sidecar.md says what each means"},
	{"log_lines_dropped_total", "", false, check.LeftOut, "line", "dropped from the log, because nobody read it in time", "have something read the container's stderr"},
}

// leaveOut is the fix if a connection can't be recorded in its protocol.
const leaveOut = "exclude its host with the annotation " + contract.OwnPrefix + "capture-exclude if its traffic need not be recorded"

// losses reports what was lost.
func (s *seen) losses() (all []finding) {
	known := map[string]count{} // by metric: the sum of the rows with a reason
	missing, earlier := "", 0.0
	for _, row := range losses {
		name := "tapedeck_" + row.metric
		var c count
		if row.reason != "" {
			c = s.count(name, "reason", row.reason)
			k := known[row.metric]
			known[row.metric] = count{all: k.all + c.all, now: k.now + c.now}
		} else {
			c = s.count(name)
			c.all, c.now = c.all-known[row.metric].all, c.now-known[row.metric].now
		}
		if row.shipped && !s.ships() {
			continue
		}
		earlier += c.all - s.recent(c)
		if s.recent(c) <= 0 {
			continue
		}
		all = append(all, finding{row.state, row.found + ": " + s.times(c, row.noun), row.fix})
	}
	for _, name := range []string{"exchanges_dropped_total", "tap_dropped_bytes_total", "segments_removed_total"} {
		if _, ok := s.metrics.sum("tapedeck_" + name); !ok {
			missing = name
		}
	}
	exchanges := s.count("tapedeck_exchanges_total")
	switch {
	case missing != "":
		all = append(all, finding{check.Unknown, "the sidecar has no tapedeck_" + missing + ", so some losses may not be counted", older})
	case len(all) > 0:
	case s.recent(exchanges) == 0:
		all = append(all, finding{check.Unknown, "nothing is lost, but nothing was recorded either: " + s.times(exchanges, "exchange"), s.sendOne()})
	default:
		found := "nothing is lost: " + s.times(exchanges, "exchange")
		if torn := s.count("tapedeck_exchanges_incomplete_total"); s.recent(torn) > 0 {
			found += fmt.Sprintf("; incomplete, because the connection broke: %.0f of them", s.recent(torn))
		}
		if earlier > 0 {
			found += "; before that there were losses, which a check without --for shows"
		}
		all = append(all, finding{check.OK, found, ""})
	}
	return all
}

// filters reports what is left out on purpose.
func (s *seen) filters() (all []finding) {
	for _, row := range []struct{ metric, reason, found, fix string }{
		{"exchanges_left_out_total", "filtered", "left out by rules", "to keep them, change the annotations " + contract.OwnPrefix + "capture-include and capture-exclude, or the ConfigMap that replaces them"},
		{"exchanges_left_out_total", "sampled_out", "left out with their trace by the sampling rate", "to keep all, set the annotation " + contract.OwnPrefix + "capture-sample to 1"},
		{"exchanges_left_out_total", "metadata", "left out, because they are answers of a cloud's metadata server, which have credentials", "none: they are never recorded"},
		{"exchanges_truncated_total", "", "recorded without a part of their content, by a limit", "to keep more, raise the option bodyLimit"},
	} {
		var labels []string
		if row.reason != "" {
			labels = []string{"reason", row.reason}
		}
		if c := s.count("tapedeck_"+row.metric, labels...); s.recent(c) > 0 {
			all = append(all, finding{check.LeftOut, row.found + ": " + s.times(c, "exchange"), row.fix})
		}
	}
	if c := s.count("tapedeck_segments_removed_total"); !s.ships() && s.recent(c) > 0 {
		all = append(all, finding{check.LeftOut, "removed from the pod to make room for new ones: " + s.times(c, "segment"), "to keep more, raise the option sinkSize, or send them to a collector with the option sink"})
	}
	return all
}
