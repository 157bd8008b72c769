package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/replay/report"
)

// maxTermination is the number of bytes of a termination log that Kubernetes shows with the
// state of a container.
const maxTermination = 4096

// lastWords writes the summary of a report, or the error, to the termination log.
func (f *replayFlags) lastWords(r *report.Report, failed error) error {
	name := f.terminationLog
	if name == "" {
		if info, err := os.Stat(contract.TerminationLog); f.meet == "" || err != nil || !info.Mode().IsRegular() {
			return nil
		}
		name = contract.TerminationLog
	}
	var text strings.Builder
	var reported exitError
	if failed != nil && !errors.As(failed, &reported) {
		fmt.Fprintf(&text, "tapedeck: %s\n", failed)
	}
	if r == nil && f.did != "" {
		fmt.Fprintln(&text, f.did)
	}
	if r != nil {
		for _, x := range r.Exits {
			fmt.Fprintln(&text, x)
		}
		if form, err := report.FormNamed("pretty"); err == nil {
			_ = form.Write(&text, r) // never fails
		}
	}
	// The file is mounted, so it can't be replaced by a rename.
	return os.WriteFile(name, []byte(wholeLines(text.String(), maxTermination)), 0o644)
}

// wholeLines returns as many whole lines as fit, or the beginning of the first one if that
// doesn't fit.
func wholeLines(text string, most int) string {
	if len(text) <= most {
		return text
	}
	end := strings.LastIndexByte(text[:most], '\n') + 1
	if end == 0 {
		return strings.ToValidUTF8(text[:most], "")
	}
	return text[:end]
}
