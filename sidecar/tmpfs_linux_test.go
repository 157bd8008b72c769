package sidecar

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
)

// A directory that does not exist yet is in memory if its nearest existing parent is.
func TestWhatIsInMemory(t *testing.T) {
	for dir, want := range map[string]bool{"/dev/shm": true, "/dev/shm/not/yet": true, "/proc": false, "/": false} {
		if _, err := os.Stat("/dev/shm"); err != nil {
			t.Skip(err)
		}
		if got := inMemory(filepath.Clean(dir)); got != want {
			t.Errorf("%s: %v", dir, got)
		}
	}
}

func TestASinkInMemoryIsSmall(t *testing.T) {
	m := contract.DivideMemory(64 << 20)
	for asked, want := range map[int64]int64{0: 8 << 20, 1 << 30: 8 << 20, 1 << 20: 1 << 20} {
		c := Config{SinkSize: asked}
		if c.keepInMemory(m); c.SinkSize != want {
			t.Errorf("of %d: %d, want %d", asked, c.SinkSize, want)
		}
	}
}
