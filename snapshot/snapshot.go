// Package snapshot makes immutable selections of recorded exchanges, and opens them
// again.
//
//	exchanges ──▶ Create ──▶ snapshots/ID/cluster=…/…/….jsonl.zst   in order of start
//	              rules                   _duckdb.sql               columns, for queries
//	              counts                  snapshot.json             written last
//
// It promises:
//
//   - A snapshot is complete or absent. It exists once snapshot.json is written. If a process is
//     killed earlier, verify names the files that it left, and delete removes them.
//   - snapshot.json holds the hash of every file, so its own hash, the pin, fixes the whole
//     snapshot.
//   - [Open] checks the pin, and that no file is missing or extra. The hash of each file is checked
//     before the caller gets the first byte of it.
//   - A snapshot is a place: its files have the same partitions as a recording's.
//   - A table of rules ([Rules]) defines which exchanges are left out by default. They are counted.
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

// Limits of a snapshot.
const (
	// maxManifest is the largest size of a manifest, enough for about 100,000 files.
	maxManifest = 32 << 20
	// maxFile is the largest size of a file, since readers hold it in memory. The largest file
	// that Create writes exceeds Options.FileBytes by one exchange.
	maxFile = 256 << 20
	// maxNames is the largest number of names in a list of counts; the rest is summed up.
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
	// Counts of what was captured and what was not.
	Capture Capture `json:"capture"`
	// Pods with missing exchanges, or with an unknown end: those with gaps first, at most 100.
	Pods []Pod `json:"pods,omitempty"`
	// IDs of the keys with which secrets were redacted, sorted. Equal secrets have equal tokens only with the same key.
	RedactKeys []string `json:"redactKeys,omitempty"`
	// Every other file of the snapshot, sorted by key.
	Files []File `json:"files"`
}

// From describes the source of a snapshot.
type From struct {
	// The place, without credentials.
	Place string `json:"place"`
	// Pin of the snapshot that this one was made of, `ID@sha256:DIGEST`.
	Parent string `json:"parent,omitempty"`
	// Flags of the selection by name; `from-time` and `to-time` are absolute.
	Query map[string]string `json:"query,omitempty"`
	// Number of exchanges that the query selected.
	Selected int64 `json:"selected"`
	// Findings in the recording by kind: gaps, damage that was accepted, segments that were still being written.
	Findings map[string]uint64 `json:"findings,omitempty"`
}

// Counts are numbers of exchanges by properties. Each list begins with the largest number and has
// at most 100 names.
type Counts struct {
	// By direction, `IN` or `OUT`.
	Directions []Count `json:"directions"`
	// By protocol, with the values of `l7protocol`.
	Protocols []Count `json:"protocols"`
	// By workload, as `cluster/namespace/workload`.
	Workloads []Count `json:"workloads"`
	// By requested host.
	Hosts []Count `json:"hosts"`
	// Exchanges of further workloads and hosts, which are not in the lists.
	Rest Rest `json:"rest"`
}

// Count is the number of exchanges with a name.
type Count struct {
	// The name.
	Name string `json:"name"`
	// Number of exchanges.
	Exchanges int64 `json:"exchanges"`
}

// Rest sums up the exchanges that are not in the lists of counts.
type Rest struct {
	// Exchanges of other workloads.
	Workloads int64 `json:"workloads"`
	// Exchanges of other hosts.
	Hosts int64 `json:"hosts"`
}

// RuleCount is how many exchanges a rule left out, or matched.
type RuleCount struct {
	// Name of the rule.
	Rule string `json:"rule"`
	// Number of exchanges for which it was the first matching rule.
	Exchanges int64 `json:"exchanges"`
	// Whether they are in the snapshot because of `--keep`.
	Kept bool `json:"kept,omitempty"`
}

// Capture has the counters of the processes that recorded the selection, from their start until the
// last segment that was read. The numbers count all traffic of these processes, not only the
// selection.
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
	// Number of processes without a mark of their end. They were still recording, continued after the selected time, or were killed before they had sent everything.
	EndUnknown int `json:"endUnknown,omitempty"`
}

// Pod describes a process that recorded in a pod and whose exchanges are, or may be, missing.
type Pod struct {
	// Name of the pod. A pod occurs once for each of its processes, since its container may have been restarted.
	Pod string `json:"pod"`
	// When the process began to record.
	Started time.Time `json:"started"`
	// Start of its last segment that was read.
	Last time.Time `json:"lastSegment"`
	// Numbers of the segments that are missing, such as `3-5, 9`.
	MissingSegments string `json:"missingSegments,omitempty"`
	// Exchanges in those, as far as their number is known.
	MissingExchanges uint64 `json:"missingExchanges,omitempty"`
	// Whether the mark of its end is missing. It was still recording, continued after the selected time, or was killed before it had sent everything.
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

// Bytes returns the size of all files except the manifest.
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
		return nil, fmt.Errorf("id %.80q: want a UUID in lower case", m.ID)
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
		return fmt.Errorf("sha256 %.80q: want 64 hexadecimal digits in lower case", f.SHA256)
	}
	return nil
}
