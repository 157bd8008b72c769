package recording

import (
	"cmp"
	"encoding/json"
	"time"
)

// CountersType is the msgType of the line that ends a segment.
const CountersType = "counters"

// Counters count the exchanges that one process recorded and left out between its start and
// the end of the segment. For totals, add up the counters of each process's last segment.
type Counters struct {
	// Cluster and Namespace come from the line, which has them as an exchange does.
	Cluster   string `json:"-"`
	Namespace string `json:"-"`
	// Name of the pod; `undefined` if unknown.
	Pod string `json:"pod"`
	// Identity of the process: a pod's containers may be restarted.
	Process UUID `json:"process"`
	// When the process began to record.
	Started time.Time `json:"started"`
	// Number of the segment in its process, as in its name. A missing segment was removed, or its writer was killed.
	Segment int `json:"segment"`
	// Exchanges in the process's segments, up to this one's end.
	Recorded uint64 `json:"recorded"`
	// Exchanges that should have been recorded but were lost, as far as their number is known.
	Dropped uint64 `json:"dropped"`
	// Exchanges that a filter rule left out.
	Filtered uint64 `json:"filtered"`
	// Exchanges that sampling left out with their trace.
	SampledOut uint64 `json:"sampledOut"`
	// Exchanges recorded without part of their content, because of a limit.
	Cut uint64 `json:"cut"`
	// Exchanges recorded incompletely, because the connection broke or bytes were lost.
	Incomplete uint64 `json:"incomplete"`
	// Whether the process ended normally and this is its last segment. Without such a segment, there may have been more.
	End bool `json:"end,omitempty"`
	// ID of the key with which the process's tokens were made: 16 hexadecimal digits. The same in segments with comparable tokens.
	RedactKey string `json:"redactKey,omitempty"`
}

// LeftOut returns how many exchanges are missing from the recording, as far as known.
func (c *Counters) LeftOut() uint64 { return c.Dropped + c.Filtered + c.SampledOut }

// countersLine is the JSON of the line. It has the members of an exchange that say where it was
// captured, but no direction, so that queries for a direction don't match it.
type countersLine struct {
	MsgType   string    `json:"msgType"`
	TS        time.Time `json:"ts"`
	Cluster   string    `json:"cluster"`
	Namespace string    `json:"namespace"`
	Service   string    `json:"service"`
	Counters  *Counters `json:"counters"`
}

// AppendLine appends the last line of a segment, with its newline: the counters, and the
// members that say where the segment was captured.
func (c Counters) AppendLine(dst []byte, cluster, namespace, workload string) []byte {
	c.Pod = cmp.Or(c.Pod, Undefined)
	line, err := json.Marshal(countersLine{
		MsgType:   CountersType,
		TS:        time.Now().UTC(),
		Cluster:   cmp.Or(cluster, Undefined),
		Namespace: cmp.Or(namespace, Undefined),
		Service:   cmp.Or(workload, Undefined),
		Counters:  &c,
	})
	if err != nil { // impossible: strings, numbers and the current time can be encoded
		return dst
	}
	return append(append(dst, line...), '\n')
}

// isCounters reads a line of counters. It returns nil and false for other lines.
func isCounters(msgType string, line []byte) (*Counters, bool) {
	if msgType != CountersType {
		return nil, false
	}
	var l countersLine
	if json.Unmarshal(line, &l) != nil || l.Counters == nil || !l.Counters.isPossible() {
		return nil, true
	}
	l.Counters.Cluster, l.Counters.Namespace = l.Cluster, l.Namespace
	return l.Counters, true
}

// isPossible rejects numbers that no process can reach, so that sums over many processes can't
// overflow, even if the recording is forged.
func (c *Counters) isPossible() bool {
	return c.Segment >= 0 && c.Segment <= maxNumber &&
		max(c.Recorded, c.Dropped, c.Filtered, c.SampledOut, c.Cut, c.Incomplete) <= maxCount
}

// Limits of counters: one segment per millisecond for three weeks, and the largest integer up to
// which JSON numbers are exact (RFC 8259, section 6).
const (
	maxNumber = 1<<31 - 1
	maxCount  = 1 << 53
)
