package recording

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	// SegmentSuffix ends the key of a complete segment.
	SegmentSuffix = ".jsonl.zst"
	// PartSuffix follows SegmentSuffix while the segment is being written, and remains
	// if its writer was killed. Readers read such a segment, too.
	PartSuffix = ".part"
	// MergedPod replaces the pod in the keys of large segments, which hold exchanges of
	// several pods.
	MergedPod = "merged"
)

// Partition is the part of a segment's key by which query engines and readers select segments. Unknown
// names are [Undefined].
type Partition struct {
	Cluster, Namespace, Workload string
	// Hour is the hour in which the segment began, in UTC.
	Hour time.Time
}

// String returns the partition in Hive's form, without a trailing slash:
//
//	cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20
func (p Partition) String() string {
	hour := p.Hour.UTC()
	return fmt.Sprintf("cluster=%s/namespace=%s/workload=%s/date=%s/hour=%s",
		KeyPart(p.Cluster), KeyPart(p.Namespace), KeyPart(p.Workload), hour.Format("2006-01-02"), hour.Format("15"))
}

// ParsePartition parses what String returns, with or without a trailing slash, and rejects
// everything else.
func ParsePartition(folder string) (Partition, error) {
	var v [5]string
	values := strings.Split(strings.TrimSuffix(folder, "/"), "/")
	for i, name := range partitions {
		if len(values) == len(partitions) {
			v[i] = strings.TrimPrefix(values[i], name)
		}
	}
	hour, err := time.Parse("2006-01-02 15", v[3]+" "+v[4])
	p := Partition{v[0], v[1], v[2], hour}
	if err != nil || p.String() != strings.TrimSuffix(folder, "/") {
		return Partition{}, fmt.Errorf("%.300q is not a partition; want one such as %s", folder, Partition{"CLUSTER", "NAMESPACE", "WORKLOAD", time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)})
	}
	return p, nil
}

// partitions are the beginnings of a partition's folder names, up to the values.
var partitions = [...]string{"cluster=", "namespace=", "workload=", "date=", "hour="}

// SegmentKey is the key of a segment that capture wrote.
type SegmentKey struct {
	// Partition is the folder of the segment. Its Hour is that of Began.
	Partition
	// Began is the time at which the segment began, in UTC, to the millisecond.
	Began time.Time
	// Pod is the name of the pod; [Undefined] if unknown.
	Pod string
	// Number counts the segments of one process, from 0.
	Number int
	// Digest has the first [DigestDigits] hexadecimal digits of the SHA-256 of the segment's
	// bytes. It is "" while the segment is in the pod's directory.
	Digest string
	// Part means that the segment is still being written, or that its writer was killed.
	Part bool
}

// DigestDigits is how many digits of the SHA-256 a key has: enough to distinguish segments of one
// pod that began in the same millisecond with the same number.
const DigestDigits = 16

// LargeKey returns the key of the large segment with this number in the partition. The segment's
// first line lists its sources: see [Sources].
func LargeKey(p Partition, number int) SegmentKey {
	return SegmentKey{Partition: p, Began: p.Hour, Pod: MergedPod, Number: number}
}

// IsLarge reports whether the key may belong to a large segment. The segment's first line decides.
func (k SegmentKey) IsLarge() bool {
	return k.Pod == MergedPod && k.Began.Equal(k.Hour) && k.Digest == "" && !k.Part
}

// LargePrefix begins the keys of the large segments in a partition.
func LargePrefix(p Partition) string {
	return p.String() + "/" + p.Hour.UTC().Format(beganLayout) + "-" + MergedPod + "-"
}

const beganLayout = "20060102T150405.000Z"

// String returns the key:
//
//	cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/20261122T201500.123Z-cart-7d4b-0.jsonl.zst
//	cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/20261122T201500.123Z-cart-7d4b-0.9f86d081884c7d65.jsonl.zst
//
// The second has a digest.
func (k SegmentKey) String() string {
	k.Hour = k.Began
	suffix := SegmentSuffix
	if k.Digest != "" {
		suffix = "." + k.Digest + suffix
	}
	if k.Part {
		suffix += PartSuffix
	}
	return fmt.Sprintf("%s/%s-%s-%d%s", k.Partition, k.Began.UTC().Format(beganLayout), KeyPart(k.Pod), k.Number, suffix)
}

// ParseSegmentKey parses what String returns, and rejects everything else. A valid key
// can't lead out of a directory.
func ParseSegmentKey(key string) (k SegmentKey, err error) {
	bad := func(what string) (SegmentKey, error) {
		return SegmentKey{}, fmt.Errorf("not a segment's key: %s; want one such as %s", what, SegmentKey{
			Partition: Partition{"CLUSTER", "NAMESPACE", "WORKLOAD", time.Time{}}, Began: time.Date(2026, 11, 22, 20, 15, 0, 0, time.UTC), Pod: "POD"})
	}
	folders, name := path.Split(key)
	values := strings.Split(strings.TrimSuffix(folders, "/"), "/")
	if len(values) != len(partitions) {
		return bad(fmt.Sprintf("%d folders", len(values)))
	}
	for i, name := range partitions {
		value, ok := strings.CutPrefix(values[i], name)
		if !ok {
			return bad("no " + name + " where it belongs")
		}
		values[i] = value
	}
	k.Cluster, k.Namespace, k.Workload = values[0], values[1], values[2]
	name, k.Part = strings.CutSuffix(name, PartSuffix)
	name, ok := strings.CutSuffix(name, SegmentSuffix)
	if !ok {
		return bad("no " + SegmentSuffix + " at the end")
	}
	began, name, _ := strings.Cut(name, "-")
	if k.Began, err = time.Parse(beganLayout, began); err != nil {
		return bad("no time at the start")
	}
	k.Hour = k.Began.Truncate(time.Hour)
	last := strings.LastIndexByte(name, '-')
	if last < 0 {
		return bad("no number at the end")
	}
	number, digest, hasDigest := strings.Cut(name[last+1:], ".")
	if k.Number, err = strconv.Atoi(number); err != nil || k.Number > maxNumber {
		return bad("no number at the end")
	}
	if hasDigest && (!isDigest(digest) || k.Part) {
		return bad("no digest after the number")
	}
	k.Pod, k.Digest = name[:last], digest
	if k.String() != key {
		return bad("not in canonical form")
	}
	return k, nil
}

func isDigest(s string) bool {
	return len(s) == DigestDigits && strings.Trim(s, "0123456789abcdef") == ""
}

// KeyPart turns a name into a valid part of a key: every character other than ASCII letters, digits
// and -_. becomes a dash, and the result does not begin with a dot. An empty name becomes
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
