// Command tools builds every tool of the end-to-end tests ahead of them, so
// that minutes of compiling show as progress and not as a hanging test.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/tools"
)

func main() {
	for _, t := range tools.All() {
		start := time.Now()
		path, err := t.Build(context.Background())
		if err != nil {
			fmt.Fprintln(os.Stderr, "tools:", err)
			os.Exit(1)
		}
		fmt.Printf("%-10s %-36s %5.0fs  %s\n", t.Name, t.Version, time.Since(start).Seconds(), path)
	}
}
