// Package machine describes the machine and the moment that a measurement depends on. It
// imports only the standard library.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// Describe returns one line: the date, the processor, how busy it is, and Go's version. It
// leaves out what the system doesn't report.
func Describe() string {
	line := fmt.Sprintf("%s; %s, %d processors", time.Now().UTC().Format(time.DateOnly), model(), runtime.NumCPU())
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(load), " ")
		line += ", load " + first
	}
	return line + "; " + runtime.Version()
}

// model returns the name of the processor.
func model() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
