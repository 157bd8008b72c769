package place_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording/place"
	"github.com/tapedeck/tapedeck/recording/store"
)

func TestADirectoryIsOpened(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{dir, "file://" + dir} {
		s, err := place.OpenText(t.Context(), text)
		if err != nil || s != store.Dir(dir) {
			t.Errorf("%s: %v, %v", text, s, err)
		}
	}
}

func TestPlacesThatAreNotOpened(t *testing.T) {
	for text, want := range map[string]string{
		"sftp://host/recordings": `place "sftp://host/recordings": unknown scheme "sftp"; allowed: a path, file:///directory, s3://bucket/prefix`,
	} {
		if _, err := place.OpenText(t.Context(), text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v; want %s", text, err, want)
		}
	}
}

// Every program that opens places links the dependencies of the stores.
func TestPlacesLinkNoGRPCAndNoArrow(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to list the packages")
	}
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		for _, heavy := range []string{"google.golang.org/grpc", "go-control-plane", "opentelemetry", "apache/arrow"} {
			if strings.Contains(pkg, heavy) {
				t.Errorf("places link %s", pkg)
			}
		}
	}
}

func ExampleOpenText() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	s, err := place.OpenText(ctx, dir) // or s3://recordings/shop?region=eu-central-1
	if err != nil {
		panic(err)
	}
	if err := store.PutOnce(ctx, s, "notes/hour=20/1", strings.NewReader("text")); err != nil {
		panic(err)
	}
	for object, err := range s.List(ctx, "notes/") {
		fmt.Println(object.Key, object.Size, err)
	}
	// Output: notes/hour=20/1 4 <nil>
}
