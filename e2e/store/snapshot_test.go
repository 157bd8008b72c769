package store

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
	"github.com/tapedeck/tapedeck/snapshot"
	"github.com/tapedeck/tapedeck/snapshot/pull"
)

// A recording in a bucket becomes a snapshot there. The snapshot is copied to a laptop and verified, and a
// change of an object is found.
func TestASnapshotInABucket(t *testing.T) {
	text := "s3://recordings/prod?endpoint=" + startS3(t, "recordings")
	root, err := contract.ParsePlace(text)
	if err != nil {
		t.Fatal(err)
	}
	bucket := open(t, text)

	// The shipped directory of a sidecar.
	dir := t.TempDir()
	r, err := spool.Open(dir, spool.Options{SegmentOptions: spool.SegmentOptions{Cluster: "c1", Namespace: "shop", Workload: "cart", Pod: "cart-0", MaxBytes: 2 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	const exchanges = 50
	for n := range exchanges {
		e := &recording.Exchange{MsgType: recording.MsgType, UUID: recording.UUID{byte(n), 1}, TS: time.Now(), Direction: recording.In,
			L7Protocol: recording.HTTP1, Cluster: "c1", Namespace: "shop", Service: "cart", Location: fmt.Sprintf("/%d", n), Status: "200"}
		if n%5 == 0 {
			e.Tags.Set(recording.TagIncomplete, "no_answer")
		}
		if err := r.Write(e); err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sum, err := pull.Place(t.Context(), store.Dir(dir), pull.To{Store: bucket}, nil)
	if err != nil || sum.Segments < 2 {
		t.Fatalf("%+v, %v", sum, err)
	}

	s, _, err := snapshot.Source(t.Context(), root, place.Open)
	if err != nil {
		t.Fatal(err)
	}
	in, err := snapshot.Select(t.Context(), root, s, nil, snapshot.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	ref, m, err := snapshot.Create(t.Context(), bucket, in, snapshot.Options{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Exchanges != exchanges-exchanges/5 || m.LeftOut[0].Exchanges != exchanges/5 || m.Capture.Recorded != exchanges {
		t.Errorf("%+v", m)
	}
	listed, err := snapshot.List(t.Context(), bucket)
	if err != nil || len(listed) != 1 || listed[0].Ref != ref {
		t.Errorf("%+v, %v", listed, err)
	}

	// To a laptop, by its reference as it is kept in git.
	ref.Place = root
	pinned, err := contract.ParsePlace(ref.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, o, err := snapshot.Source(t.Context(), pinned, place.Open); err != nil || o.Digest != ref.Digest {
		t.Fatalf("%s: %v", ref, err)
	}
	laptop := store.Dir(t.TempDir())
	if _, sum, err := pull.Snapshot(t.Context(), bucket, ref.ID, ref.Digest, pull.To{Store: laptop}); err != nil || sum.Snapshots != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, err := snapshot.Verify(t.Context(), laptop, ref.ID, ref.Digest, nil); err != nil {
		t.Error(err)
	}

	// Write access to the bucket is not enough to change what the pin refers to.
	key := contract.SnapshotsDir + "/" + ref.ID + "/" + m.Files[len(m.Files)-1].Key
	if err := bucket.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Open(t.Context(), bucket, ref.ID, ref.Digest); !errors.Is(err, snapshot.ErrTampered) || !strings.Contains(err.Error(), key) {
		t.Errorf("a file that is missing: %v", err)
	}
	if err := bucket.Put(t.Context(), key, strings.NewReader(strings.Repeat("x", int(m.Files[len(m.Files)-1].Bytes)))); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Verify(t.Context(), bucket, ref.ID, ref.Digest, nil); !errors.Is(err, snapshot.ErrTampered) || !strings.Contains(err.Error(), key) {
		t.Errorf("a file that was replaced: %v", err)
	}
	if _, err := snapshot.Delete(t.Context(), bucket, ref.ID, ref.Digest); err != nil {
		t.Error(err)
	}
	if _, err := snapshot.Open(t.Context(), bucket, ref.ID, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if listed, err := snapshot.List(t.Context(), bucket); err != nil || len(listed) > 0 {
		t.Errorf("%+v, %v", listed, err)
	}
}
