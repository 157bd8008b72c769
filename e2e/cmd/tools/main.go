// Command tools builds the tools of the end-to-end tests before they run, so that
// minutes of compiling show as progress and not as a hanging test. With a name,
// it builds only that tool and prints its path.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/tools"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tools:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		file, err := tools.Find(ctx, args[0])
		if err == nil {
			fmt.Println(file)
		}
		return err
	}
	for _, t := range tools.All() {
		start := time.Now()
		file, err := t.Build(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%-10s %-36s %5.0fs  %s\n", t.Name, t.Version, time.Since(start).Seconds(), file)
	}
	return nil
}
