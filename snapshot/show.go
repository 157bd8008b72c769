package snapshot

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/clean"
	"github.com/tapedeck/tapedeck/recording/read"
)

// Warnings returns sentences that users of the snapshot must know.
func (m *Manifest) Warnings() (all []string) {
	if n := len(m.RedactKeys); n > 1 {
		all = append(all, fmt.Sprintf("secrets were redacted with %d keys: one secret has several tokens, so sessions and logins can't be followed from one pod to another", n))
	}
	for _, k := range read.Kinds() {
		if n := m.From.Findings[k.Name]; n > 0 && k.Severity > read.Normal {
			name := k.Many
			if n == 1 {
				name = k.One
			}
			if k.Name == read.Kinds()[read.MissingSegment].Name {
				name += m.missing()
			}
			all = append(all, fmt.Sprintf("the recording had %d %s", n, name))
		}
	}
	if m.Capture.Dropped > 0 {
		all = append(all, fmt.Sprintf("the processes that recorded it dropped %d exchanges, so some may be missing", m.Capture.Dropped))
	}
	return all
}

// missing lists the pods whose segments are missing.
func (m *Manifest) missing() string {
	var pods []string
	for _, p := range m.Pods {
		if p.MissingSegments != "" && len(pods) < shownNames {
			pods = append(pods, fmt.Sprintf("%s of pod %s, with %d exchanges", p.MissingSegments, p.Pod, p.MissingExchanges))
		}
	}
	if len(pods) == 0 { // an older snapshot
		return ""
	}
	return ": numbers " + strings.Join(pods, "; ")
}

// unknownEnds lists the pods that may have recorded more.
func (m *Manifest) unknownEnds() string {
	var pods []string
	rest := m.Capture.EndUnknown
	for _, p := range m.Pods {
		if p.EndUnknown && len(pods) < shownNames {
			pods = append(pods, p.Pod)
			rest--
		}
	}
	if rest > 0 {
		pods = append(pods, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(pods, ", ")
}

// shownNames is how many names of a list Show writes.
const shownNames = 10

// Show describes the snapshot for people.
func Show(w io.Writer, ref contract.SnapshotRef, m *Manifest) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, clean.Text(fmt.Sprintf(format, args...)))
	}
	line("snapshot", "%s", ref)
	line("created", "%s by tapedeck %s", m.Created.Format(time.RFC3339), m.Version)
	line("from", "%s%s", m.From.Place, m.From.query())
	if m.From.Parent != "" {
		line("parent", "%s", m.From.Parent)
	}
	line("exchanges", "%d, of which %d were cut by a limit at capture", m.Exchanges, m.Cut)
	line("time", "%s to %s", m.First.Format(time.RFC3339Nano), m.Last.Format(time.RFC3339Nano))
	for _, l := range []struct {
		name   string
		counts []Count
		rest   int64
	}{
		{"directions", m.Counts.Directions, 0},
		{"protocols", m.Counts.Protocols, 0},
		{"workloads", m.Counts.Workloads, m.Counts.Rest.Workloads},
		{"hosts", m.Counts.Hosts, m.Counts.Rest.Hosts},
	} {
		line(l.name, "%s", counts(l.counts, l.rest))
	}
	for _, r := range m.LeftOut {
		if r.Exchanges > 0 {
			verb := "left out"
			if r.Kept {
				verb = "kept"
			}
			line(verb, "%d by the rule %s", r.Exchanges, r.Rule)
		}
	}
	c := m.Capture
	line("capture", "%d processes, of all their traffic: %d recorded, %d dropped, %d filtered, %d sampled out; of those recorded, %d cut and %d incomplete",
		c.Processes, c.Recorded, c.Dropped, c.Filtered, c.SampledOut, c.Cut, c.Incomplete)
	if c.EndUnknown > 0 {
		line("end unknown", "%d processes, which were still recording, continued after the selected time, or were killed before they had sent everything: %s", c.EndUnknown, m.unknownEnds())
	}
	if len(m.RedactKeys) > 0 {
		line("redaction keys", "%s", strings.Join(m.RedactKeys, ", "))
	}
	line("files", "%d, %s", len(m.Files), Size(m.Bytes()))
	for _, text := range m.Warnings() {
		line("warning", "%s", text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// query returns the selection as flags.
func (f *From) query() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(f.Query)) {
		fmt.Fprintf(&b, " --%s %s", name, f.Query[name])
	}
	return b.String()
}

func counts(list []Count, rest int64) string {
	var words []string
	for i, c := range list {
		if i < shownNames {
			words = append(words, fmt.Sprintf("%s %d", c.Name, c.Exchanges))
		} else {
			rest += c.Exchanges
		}
	}
	if rest > 0 {
		words = append(words, fmt.Sprintf("others %d", rest))
	}
	return strings.Join(words, ", ")
}

// Size formats a number of bytes for people.
func Size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, name := float64(n), ""
	for _, name = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size /= unit; size < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", size, name)
}

// Table lists snapshots for people, one on each line.
func Table(w io.Writer, all []Listed) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tCREATED\tEXCHANGES\tSIZE\tFROM\tDIGEST")
	for _, l := range all {
		if l.Err != nil {
			fmt.Fprintf(t, "%s\t-\t-\t-\t-\tcan't be read: %s\n", l.Ref.ID, clean.Text(l.Err.Error()))
			continue
		}
		m := l.Manifest
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\tsha256:%s\n", l.Ref.ID, m.Created.Format(time.RFC3339), m.Exchanges, Size(m.Bytes()), clean.Text(m.From.Place), l.Ref.Digest)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// JSON writes one line that describes a snapshot: its reference, and its manifest or the error that
// reading it returned.
func JSON(w io.Writer, ref contract.SnapshotRef, m *Manifest, wrong error) error {
	line := struct {
		Ref      string    `json:"ref"`
		Error    string    `json:"error,omitempty"`
		Manifest *Manifest `json:"manifest,omitempty"`
	}{Ref: ref.String(), Manifest: m}
	if wrong != nil {
		line.Error = wrong.Error()
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = w.Write(append(clean.JSON(text), '\n'))
	return err
}
