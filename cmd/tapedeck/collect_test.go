package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

func TestTheCollectorsPageListsItsFlags(t *testing.T) {
	var b strings.Builder
	b.WriteString("| flag | default | what it does |\n|---|---|---|\n")
	newCollectCommand().LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		value := f.DefValue
		switch {
		case strings.HasPrefix(value, "["): // a list, empty by default
			value = ""
		case strings.HasSuffix(value, "m0s"), strings.HasSuffix(value, "h0m0s"):
			value = strings.TrimSuffix(strings.TrimSuffix(value, "0s"), "0m")
		}
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", strings.TrimSpace(f.Name+" "+strings.ToUpper(kind)), value, strings.ToUpper(usage[:1])+usage[1:]+".")
	})
	docpage.Tables(t, "../../docs/collector.md", *update, map[string]string{"flags": b.String()})
}
