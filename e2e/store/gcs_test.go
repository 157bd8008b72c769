package store

import (
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store/storetest"
)

// startGCS runs fake-gcs-server with a bucket.
func startGCS(t *testing.T, bucket string) (endpoint string) {
	t.Helper()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	return server.URL()
}

func TestGCSKeepsThePromisesOfAStore(t *testing.T) {
	endpoint, n := startGCS(t, "recordings"), 0
	storetest.Run(t, storetest.Suite{Open: place.OpenText, Place: func(t *testing.T) string {
		return makePlace("gs://recordings/%s?endpoint="+endpoint, &n)
	}})
}
