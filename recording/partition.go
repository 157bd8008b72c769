package recording

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

const (
	// SegmentSuffix ends the key of a complete segment.
	SegmentSuffix = ".jsonl.zst"
	// PartSuffix follows it while the segment is being written, and stays if its
	// writer was killed. Readers read such a segment all the same.
	PartSuffix = ".part"
)

// Partition is the part of a segment's key that query engines and readers select
// by. Names that are unknown are [Undefined].
type Partition struct {
	Cluster, Namespace, Workload string
	// Hour is that in which the segment was begun, in UTC.
	Hour time.Time
}

// String gives the Hive form, without a slash at its end:
//
//	cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20
func (p Partition) String() string {
	hour := p.Hour.UTC()
	return fmt.Sprintf("cluster=%s/namespace=%s/workload=%s/date=%s/hour=%s",
		KeyPart(p.Cluster), KeyPart(p.Namespace), KeyPart(p.Workload), hour.Format("2006-01-02"), hour.Format("15"))
}

// KeyPart makes a name fit to be part of a key: what isn't a letter, a digit,
// or one of -_. becomes a dash, and dots don't begin it. An empty name becomes
// [Undefined].
func KeyPart(name string) string {
	name = strings.TrimLeft(strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, name), ".")
	return cmp.Or(name, Undefined)
}
