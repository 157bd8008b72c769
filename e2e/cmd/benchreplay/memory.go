package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
)

// memory compares the memory of replays of two recordings, one of which is ten times as large
// as the other. Each request is for a different object, and virtual users send them.
func memory(ctx context.Context, dir, tapedeck, address string, large int) error {
	fmt.Printf("Memory at most, in MiB\n\n  %-24s %10s %10s\n", "exchanges", "loading", "replay")
	var peaks [2][2]float64
	for i, n := range []int{large / 10, large} {
		place := filepath.Join(dir, "memory-"+strconv.Itoa(n))
		if err := record(place, "1.1", n); err != nil {
			return fmt.Errorf("write a recording: %w", err)
		}
		for j, last := range []string{"1", strconv.Itoa(n)} {
			args := []string{tapedeck, "replay", place, "--target", "http://" + address, "--output", "none", "--users", "4", "--requests", last}
			_, used, err := run(ctx, args)
			if err != nil {
				return fmt.Errorf("tapedeck replay of %d exchanges: %w", n, err)
			}
			peaks[i][j] = float64(used.peak) / (1 << 20)
		}
		fmt.Printf("  %-24d %10.0f %10.0f\n", n, peaks[i][0], peaks[i][1])
	}
	fmt.Printf("  %-24s %9.2fx %9.2fx\n\n", "ten times as many", peaks[1][0]/peaks[0][0], peaks[1][1]/peaks[0][1])
	return nil
}
