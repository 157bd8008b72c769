// Package snapshot makes immutable selections of recorded exchanges, and opens them
// again.
//
//	exchanges ──▶ Create ──▶ snapshots/ID/cluster=…/…/….jsonl.zst   in order of start
//	              rules                   _duckdb.sql               columns, for queries
//	              counts                  snapshot.json             written last
//
// It promises:
//
//   - A snapshot is there or it is not. snapshot.json is the mark: until it is written,
//     nobody sees the snapshot, and a process killed at any instant leaves files that
//     verify names and delete removes.
//   - snapshot.json holds the hash of every file, so its own hash, the pin, stands for
//     all of the snapshot.
//   - [Open] checks before it gives anything away: the pin, that no file is missing and
//     none is extra, and the hash of each file as a whole before the first byte of it is
//     read.
//   - A snapshot is a place: its files lie under the same partitions as a recording's.
//   - What a selection leaves out by itself is a table of rules ([Rules]), and is counted.
//
// It imports contract, recording with its readers, stores and columns, klauspost/compress
// and the standard library: no cloud SDK.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// ManifestName is the name of the file that describes a snapshot and makes it one.
const ManifestName = "snapshot.json"

// Format is the version of snapshot.json that this package writes.
const Format = 1

// Limits on what a manifest may be.
const (
	// maxManifest is its size: about 100,000 files.
	maxManifest = 32 << 20
	// maxFile is the size of a file. Whoever reads one holds it in memory; the largest
	// that Create writes has one exchange beyond Options.FileBytes.
	maxFile = 256 << 20
	// maxNames is how many names a list of counts has; the rest is summed up.
	maxNames = 100
)

// Manifest is the content of snapshot.json.
type Manifest struct {
	// Version of this file's format, 1.
	Format int `json:"format"`
	// Version of the program that wrote it.
	Version string `json:"tapedeck"`
	// Identity of the snapshot: a random UUID.
	ID string `json:"id"`
	// When it was made: RFC 3339, UTC.
	Created time.Time `json:"created"`
	// Where the exchanges came from, and how they were selected.
	From From `json:"from"`
	// Start of the first exchange.
	First time.Time `json:"first"`
	// Start of the last exchange.
	Last time.Time `json:"last"`
	// Number of exchanges. A conversation is one, however many records it was captured in.
	Exchanges int64 `json:"exchanges"`
	// Of those, how many lack a part of their content because of a limit at capture.
	Cut int64 `json:"cut"`
	// Exchanges by direction, host, protocol and workload.
	Counts Counts `json:"counts"`
	// Exchanges that matched the query and are not in the snapshot, by rule.
	LeftOut []RuleCount `json:"leftOut"`
	// What was captured and what was not.
	Capture Capture `json:"capture"`
	// Pods of which something is missing, or of which nobody knows whether it is: those with gaps first, 100 at most.
	Pods []Pod `json:"pods,omitempty"`
	// Ids of the keys under which secrets were redacted, sorted. Equal secrets have equal tokens only under one key.
	RedactKeys []string `json:"redactKeys,omitempty"`
	// Every other file of the snapshot, sorted by key.
	Files []File `json:"files"`
}

// From says what a snapshot was made of.
type From struct {
	// The place, without credentials.
	Place string `json:"place"`
	// Pin of the snapshot that this one was made of, `ID@sha256:DIGEST`.
	Parent string `json:"parent,omitempty"`
	// What was asked for, by the name of the flag; `from-time` and `to-time` are absolute.
	Query map[string]string `json:"query,omitempty"`
	// Number of exchanges that the query selected.
	Selected int64 `json:"selected"`
	// What was wrong with the recording, by the kind of finding: gaps, damage that was accepted, segments that were still being written.
	Findings map[string]uint64 `json:"findings,omitempty"`
}

// Counts are exchanges by what they have in common. Each list begins with the largest
// number and has 100 names at most.
type Counts struct {
	// By direction, `IN` or `OUT`.
	Directions []Count `json:"directions"`
	// By protocol, as in `l7protocol`.
	Protocols []Count `json:"protocols"`
	// By workload, as `cluster/namespace/workload`.
	Workloads []Count `json:"workloads"`
	// By host that was asked.
	Hosts []Count `json:"hosts"`
	// Exchanges of further workloads and hosts, which the lists have no room for.
	Rest Rest `json:"rest"`
}

// Count is how many exchanges have a name in common.
type Count struct {
	// The name.
	Name string `json:"name"`
	// Number of exchanges.
	Exchanges int64 `json:"exchanges"`
}

// Rest sums up what the lists of counts have no room for.
type Rest struct {
	// Exchanges of other workloads.
	Workloads int64 `json:"workloads"`
	// Exchanges of other hosts.
	Hosts int64 `json:"hosts"`
}

// RuleCount is how many exchanges a rule left out, or would have.
type RuleCount struct {
	// Name of the rule.
	Rule string `json:"rule"`
	// Number of exchanges that it matched first.
	Exchanges int64 `json:"exchanges"`
	// Whether they are in the snapshot nevertheless, as was asked for.
	Kept bool `json:"kept,omitempty"`
}

// Capture says what the processes that recorded the selection did from their start until
// the last segment that was read. The numbers are those of the processes, not of the
// selection: they count all of their traffic.
type Capture struct {
	// Number of processes that have counters.
	Processes int `json:"processes"`
	// Exchanges that they recorded.
	Recorded uint64 `json:"recorded"`
	// Exchanges that were lost.
	Dropped uint64 `json:"dropped"`
	// Exchanges left out by a rule of a filter.
	Filtered uint64 `json:"filtered"`
	// Exchanges left out by a rate.
	SampledOut uint64 `json:"sampledOut"`
	// Exchanges recorded without a part of their content, by a limit.
	Cut uint64 `json:"cut"`
	// Exchanges recorded without a part: the connection broke, or bytes were lost.
	Incomplete uint64 `json:"incomplete"`
	// Exchanges in segments that are missing, as far as their number is known.
	Missing uint64 `json:"missing,omitempty"`
	// Number of processes without a mark of their end. They still recorded, or went on after the time that was asked for, or were killed before they had sent everything.
	EndUnknown int `json:"endUnknown,omitempty"`
}

// Pod is what is missing, or may be, of a process that recorded in a pod.
type Pod struct {
	// Name of the pod. It stands here once for each of its processes: its container may have been restarted.
	Pod string `json:"pod"`
	// When the process began to record.
	Started time.Time `json:"started"`
	// When the last of its segments that was read was begun.
	Last time.Time `json:"lastSegment"`
	// Numbers of the segments that must have been there and were not, as `3-5, 9`.
	MissingSegments string `json:"missingSegments,omitempty"`
	// Exchanges in those, as far as their number is known.
	MissingExchanges uint64 `json:"missingExchanges,omitempty"`
	// Whether there is no mark of its end. It still recorded, or went on after the time that was asked for, or was killed before it had sent everything.
	EndUnknown bool `json:"endUnknown,omitempty"`
}

// File is a file of the snapshot.
type File struct {
	// Its key below the snapshot.
	Key string `json:"key"`
	// Its size.
	Bytes int64 `json:"bytes"`
	// SHA-256 of its content, in hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Number of exchanges in it.
	Exchanges int64 `json:"exchanges,omitempty"`
}

// Bytes is the size of all files but the manifest.
func (m *Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Bytes
	}
	return n
}

// encode returns the content of snapshot.json and its digest.
func (m *Manifest) encode() (text []byte, digest string, err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(m); err != nil {
		return nil, "", fmt.Errorf("encode %s: %w", ManifestName, err)
	}
	if b.Len() > maxManifest {
		return nil, "", fmt.Errorf("%s would have %d bytes, and at most %d are allowed: select less", ManifestName, b.Len(), maxManifest)
	}
	return b.Bytes(), digestOf(b.Bytes()), nil
}

func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// ParseManifest reads the content of snapshot.json. It accepts what Create writes:
// members of a later version are ignored, contradictions are an error.
func ParseManifest(text []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Format != Format {
		return nil, fmt.Errorf("format %d: this version of tapedeck reads format %d", m.Format, Format)
	}
	if ref, err := contract.ParseSnapshotRef(m.ID); err != nil || ref.ID != m.ID {
		return nil, fmt.Errorf("id %.80q: want a UUID in small letters", m.ID)
	}
	exchanges, last := int64(0), ""
	for _, f := range m.Files {
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("file %.300q: %w", f.Key, err)
		}
		if f.Key <= last {
			return nil, fmt.Errorf("file %.300q: twice, or not in order", f.Key)
		}
		last = f.Key
		if exchanges += f.Exchanges; exchanges < 0 {
			return nil, errors.New("more exchanges than can be counted")
		}
	}
	if exchanges != m.Exchanges {
		return nil, fmt.Errorf("%d exchanges in all, and %d in its files", m.Exchanges, exchanges)
	}
	return &m, nil
}

func (f *File) check() error {
	if err := store.CheckKey(f.Key); err != nil {
		return err
	}
	switch {
	case f.Key == ManifestName:
		return errors.New("the manifest itself")
	case f.Bytes < 0 || f.Bytes > maxFile:
		return fmt.Errorf("%d bytes; at most %d are allowed", f.Bytes, maxFile)
	case f.Exchanges < 0:
		return fmt.Errorf("%d exchanges", f.Exchanges)
	case len(f.SHA256) != 2*sha256.Size || strings.Trim(f.SHA256, "0123456789abcdef") != "":
		return fmt.Errorf("sha256 %.80q: want 64 hexadecimal digits in small letters", f.SHA256)
	}
	return nil
}
