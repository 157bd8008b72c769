package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

func place(t *testing.T, text string) contract.Place {
	t.Helper()
	p, err := contract.ParsePlace(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openDir(_ context.Context, p contract.Place) (store.Store, error) {
	return store.Dir(p.Path), nil
}

func TestASourceIsAPlaceOrASnapshot(t *testing.T) {
	dir := t.TempDir()
	ref, _ := create(t, store.Dir(dir), some(2), Options{})
	ref.Place = place(t, dir)

	s, snap, err := Source(t.Context(), place(t, dir), openDir)
	if err != nil || s != store.Dir(dir) || snap != nil {
		t.Errorf("%v, %v, %v", s, snap, err)
	}
	for _, text := range []string{ref.String(), ref.Dir().String()} {
		s, snap, err = Source(t.Context(), place(t, text), openDir)
		if err != nil || snap == nil || snap.Digest != ref.Digest || len(locations(t, s)) != 2 {
			t.Errorf("%s: %v, %v", text, snap, err)
		}
	}
	for text, want := range map[string]error{
		strings.Replace(ref.String(), ref.Digest, strings.Repeat("0", 64), 1): ErrTampered,
		strings.Replace(ref.Dir().String(), ref.ID[:8], "00000000", 1):        fs.ErrNotExist,
	} {
		if _, _, err := Source(t.Context(), place(t, text), openDir); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	if _, _, err := Source(t.Context(), place(t, dir+"/snapshots/x"), openDir); err == nil || !strings.Contains(err.Error(), "is not a snapshot ID") {
		t.Error(err)
	}
}

func TestOnePlaceInsideAnotherIsRefused(t *testing.T) {
	const id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"/rec", "/rec", true},
		{"/rec", "/other", true},
		{"/rec", "/rec2", true},
		{"/rec", "/rec/x", false},
		{"/rec/x", "/rec", false},
		{"/rec/snapshots/" + id, "/rec", true},
		{"/rec/snapshots/" + id, "/rec/x", false},
		{"s3://bucket/a", "s3://bucket/a", true},
		{"s3://bucket", "s3://bucket/a", false},
		{"s3://bucket", "gs://bucket/a", true},
	} {
		if err := CheckPlaces(place(t, c.from), place(t, c.to)); (err == nil) != c.ok {
			t.Errorf("%s, %s: %v", c.from, c.to, err)
		}
	}
}
