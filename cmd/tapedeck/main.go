// Command tapedeck records the traffic of Istio workloads and plays it back,
// wired in at render time.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
