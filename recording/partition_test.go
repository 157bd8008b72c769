package recording

import (
	"path"
	"strings"
	"testing"
	"time"
)

const segmentKey = "cluster=c1/namespace=shop/workload=cart/date=2026-11-22/hour=20/20261122T201500.123Z-cart-7d4b-0.jsonl.zst"

func TestASegmentKeyIsReadAsItIsWritten(t *testing.T) {
	k := SegmentKey{
		Partition: Partition{Cluster: "c1", Namespace: "shop", Workload: "cart"},
		Began:     time.Date(2026, 11, 22, 21, 15, 0, 123456789, time.FixedZone("", 3600)), Pod: "cart-7d4b",
	}
	if k.String() != segmentKey {
		t.Errorf("%s, want %s", k, segmentKey)
	}
	for _, key := range []string{segmentKey, segmentKey + PartSuffix, strings.Replace(segmentKey, "-0.", "-0.9f86d081884c7d65.", 1), strings.Replace(segmentKey, "-0.", "-2147483647.", 1), SegmentKey{}.String(), SegmentKey{Pod: "-9-", Number: 12, Partition: Partition{Cluster: "a.b"}}.String()} {
		got, err := ParseSegmentKey(key)
		if err != nil {
			t.Error(err)
		} else if got.String() != key {
			t.Errorf("%s became %s", key, got)
		}
	}
	got, err := ParseSegmentKey(segmentKey + PartSuffix)
	want := SegmentKey{Partition{"c1", "shop", "cart", time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)}, time.Date(2026, 11, 22, 20, 15, 0, 123e6, time.UTC), "cart-7d4b", 0, "", true}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestKeyPart(t *testing.T) {
	for name, want := range map[string]string{
		"azAZ09-_.": "azAZ09-_.", "": Undefined, "..": Undefined, ".git": "git", "a/b": "a-b", "a=b c": "a-b-c", "`{@[/:": "------", "shóp": "sh-p",
	} {
		if got := KeyPart(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestNothingElseIsASegmentKey(t *testing.T) {
	for change, key := range map[string]string{
		"empty":                  "",
		"a bare name":            path.Base(segmentKey),
		"absolute":               "/" + segmentKey,
		"up":                     "../" + segmentKey,
		"up within":              strings.Replace(segmentKey, "shop", "..", 1),
		"hidden":                 strings.Replace(segmentKey, "shop", ".git", 1),
		"a backslash":            strings.Replace(segmentKey, "shop", `..\..\x`, 1),
		"a drive":                "C:" + segmentKey,
		"a null byte":            strings.Replace(segmentKey, "cart-7", "cart\x00", 1),
		"two slashes":            strings.Replace(segmentKey, "/hour", "//hour", 1),
		"a dot as a folder":      strings.Replace(segmentKey, "/hour", "/./hour", 1),
		"a missing folder":       strings.Replace(segmentKey, "cluster=c1/", "", 1),
		"folders in wrong order": strings.NewReplacer("cluster", "namespace", "namespace", "cluster").Replace(segmentKey),
		"an empty value":         strings.Replace(segmentKey, "shop", "", 1),
		"another hour":           strings.Replace(segmentKey, "hour=20", "hour=21", 1),
		"another day":            strings.Replace(segmentKey, "11-22", "11-23", 1),
		"no day":                 strings.Replace(strings.Replace(segmentKey, "11-22", "11-31", 1), "1122", "1131", 1),
		"no pod, no number":      strings.Replace(segmentKey, "-cart-7d4b-0", "", 1),
		"a padded number":        strings.Replace(segmentKey, "-0.", "-00.", 1),
		"a large number":         strings.Replace(segmentKey, "-0.", "-2147483648.", 1),
		"a huge number":          strings.Replace(segmentKey, "-0.", "-99999999999999999999.", 1),
		"a short digest":         strings.Replace(segmentKey, "-0.", "-0.9f86d081.", 1),
		"a digest in capitals":   strings.Replace(segmentKey, "-0.", "-0.9F86D081884C7D65.", 1),
		"a part with a digest":   strings.Replace(segmentKey, "-0.", "-0.9f86d081884c7d65.", 1) + PartSuffix,
		"another suffix":         strings.Replace(segmentKey, ".zst", ".gz", 1),
		"something after it":     segmentKey + "/x",
		"another script":         strings.Replace(segmentKey, "shop", "shóp", 1),
	} {
		if k, err := ParseSegmentKey(key); err == nil {
			t.Errorf("%s: %q is %+v", change, key, k)
		}
	}
}

func FuzzParseSegmentKey(f *testing.F) {
	f.Add(segmentKey)
	f.Add(segmentKey + PartSuffix)
	f.Fuzz(func(t *testing.T, key string) {
		k, err := ParseSegmentKey(key)
		if err != nil {
			return
		}
		if k.String() != key || path.Clean(key) != key || path.IsAbs(key) || strings.Contains(key, "..") && strings.Contains("/"+key+"/", "/../") {
			t.Errorf("%q", key)
		}
	})
}
