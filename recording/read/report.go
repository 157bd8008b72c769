package read

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Kind is a kind of finding.
type Kind int

// Kinds of findings. [Kinds] has the table.
const (
	Malformed Kind = iota
	Torn
	Unreadable
	Unfinished
	MissingSegment
	TornPart
	NoCounters
	MissingPart
	Divided
	Late
	Duplicate
	NoExchange
	Lossy
	kinds
)

// Severity is how serious a finding is for a user of the recording.
type Severity int

// Severities.
const (
	// Normal: nothing that was recorded is missing.
	Normal Severity = iota
	// Gap: something that was recorded is missing.
	Gap
	// Damage: something exists but can't be read.
	Damage
)

// KindDoc describes a kind.
type KindDoc struct {
	// Name is for programs, One and Many are for people.
	Name, One, Many string
	Severity        Severity
	Doc             string
}

// Kinds describes each kind of finding; the kind is the index.
func Kinds() [kinds]KindDoc {
	return [kinds]KindDoc{
		Malformed:      {"malformed", "malformed record", "malformed records", Damage, "JSON or markdown that can't be parsed, or is beyond a limit."},
		Torn:           {"torn", "torn segment", "torn segments", Damage, "A segment that has the name of a complete one, but is empty or ends in the middle of a record."},
		Unreadable:     {"unreadable", "unreadable file", "unreadable files", Damage, "A file or folder that the store doesn't return, or whose compressed data is damaged or beyond a limit."},
		Unfinished:     {"unfinished", "unfinished recording", "unfinished recordings", Damage, "A recording that `tapedeck redact` did not finish: it has `_redacting.json` but no `_redacted.json`."},
		MissingSegment: {"missing_segment", "missing segment", "missing segments", Gap, "No segment has this number, although the process has later ones, and either has earlier ones or started within the selected time. The segment was removed, could not be written, or was not sent. The counters say how many exchanges are missing."},
		TornPart:       {"torn_part", "open segment", "open segments", Normal, "A segment that is still being written, or whose writer was killed: its last record is incomplete."},
		NoCounters:     {"no_counters", "segment without counters", "segments without counters", Normal, "A complete segment of Tapedeck's recorder without counters of left-out exchanges."},
		MissingPart:    {"missing_part", "conversation with missing parts", "conversations with missing parts", Gap, "Parts of a conversation are not in the segments that were read."},
		Divided:        {"divided", "conversation in pieces", "conversations in pieces", Normal, "A conversation that exceeds the time window or the memory limit, and comes in several records."},
		Late:           {"late", "exchange out of order", "exchanges out of order", Normal, "An exchange that came after one with a later start."},
		Duplicate:      {"duplicate", "duplicate", "duplicates", Normal, "A record that occurs twice, with the same UUID and time, and is returned once."},
		NoExchange:     {"no_exchange", "record of another kind", "records of another kind", Normal, "JSON or text that is not an exchange, in a file with the name of a recording file."},
		Lossy:          {"lossy", "exchange read with a loss", "exchanges read with a loss", Normal, "An exchange of another tool with data that can't be kept. The record names it."},
	}
}

const (
	// maxExamples is how many findings of a kind are described.
	maxExamples = 5
	// maxExample limits a description, in bytes, because it may quote foreign text.
	maxExample = 400
)

// Finding holds the findings of one kind.
type Finding struct {
	Kind  Kind
	Count uint64
	// Examples describe the first few.
	Examples []string
}

func (f Finding) String() string {
	doc := Kinds()[f.Kind]
	name := doc.Many
	if f.Count == 1 {
		name = doc.One
	}
	text := fmt.Sprintf("%d %s", f.Count, name)
	if len(f.Examples) > 0 {
		text += ": " + strings.Join(f.Examples, "; ")
		if f.Count > uint64(len(f.Examples)) {
			text += "; …"
		}
	}
	return text
}

// Report describes what was read, and the findings. The report of a [Reader] is final once all
// records have been read.
type Report struct {
	// Segments is how many files the query needed.
	Segments int
	// Read is the number of readable exchanges and parts of conversations in them. Records is the
	// number of records that the query selected, after joining and without duplicates.
	Read, Records uint64
	// Tally has the counters of the processes that wrote what was read.
	Tally recording.Tally
	// Processes are the processes with counters, in the order of their starts.
	Processes []Process

	found [kinds]Finding
}

func (r *Report) add(kind Kind, example string) {
	f := &r.found[kind]
	f.Count++
	if len(f.Examples) == maxExamples || example == "" {
		return
	}
	if len(example) > maxExample {
		example = strings.ToValidUTF8(example[:maxExample], "") + "…"
	}
	f.Examples = append(f.Examples, example)
}

// Count returns how many findings of the kind there are.
func (r *Report) Count(kind Kind) uint64 { return r.found[kind].Count }

// Findings returns the findings, worst first.
func (r *Report) Findings() []Finding {
	docs := Kinds()
	var all []Finding
	for kind, f := range r.found {
		if f.Kind = Kind(kind); f.Count > 0 {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return int(docs[b.Kind].Severity - docs[a.Kind].Severity) })
	return all
}

// Errors of [Report.Err] wrap ErrIncomplete, and errors of [Report.Damaged] wrap ErrDamaged.
var (
	ErrIncomplete = errors.New("the recording is not complete")
	ErrDamaged    = errors.New("the recording is damaged")
)

// Err returns an error if there is a gap or damage, except for the allowed kinds. Commands that give
// a verdict fail with it.
func (r *Report) Err(allowed ...Kind) error { return r.atLeast(Gap, ErrIncomplete, allowed) }

// Damaged returns an error if there is damage.
func (r *Report) Damaged() error { return r.atLeast(Damage, ErrDamaged, nil) }

func (r *Report) atLeast(severity Severity, wrapped error, allowed []Kind) error {
	docs := Kinds()
	var texts []string
	for _, f := range r.Findings() {
		if docs[f.Kind].Severity >= severity && !slices.Contains(allowed, f.Kind) {
			texts = append(texts, f.String())
		}
	}
	if texts == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", wrapped, strings.Join(texts, ". "))
}
