package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract/filter"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/inspect"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/snapshot"
)

// selection has the flags that select exchanges of a recording: the filters of inspect, and
// rules of contract/filter.
type selection struct {
	cmd              *cobra.Command
	inspect          inspect.Options
	longest          time.Duration
	include, exclude string
	allowDamaged     bool
	names            []string // of the flags
}

// flagNames renames flags of inspect for commands whose from and to are places. It leaves out
// those with the name "", which select nothing.
var flagNames = map[string]string{"from": "from-time", "to": "to-time", "output": "", "show": "", "parts": ""}

func (s *selection) register(cmd *cobra.Command) {
	s.cmd = cmd
	flags := cmd.Flags()
	for _, f := range s.inspect.Flags() {
		name, renamed := flagNames[f.Name]
		if !renamed {
			name = f.Name
		}
		if name == "" {
			continue
		}
		s.names = append(s.names, name)
		flags.StringVarP(f.Value, name, f.Short, f.Default, f.Usage)
		if len(f.Allowed) > 0 {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(f.Allowed, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	flags.StringVar(&s.include, "include", "", `only exchanges that match one of these rules, such as "in path=/cart*; out host=*.internal"`)
	flags.StringVar(&s.exclude, "exclude", "", "leave out exchanges that match one of these rules")
	flags.DurationVar(&s.longest, "longest", read.DefaultLongest, "find all exchanges up to this `duration`; longer ones may be missed")
	flags.BoolVar(&s.allowDamaged, "allow-damaged", false, "read the readable parts of a damaged recording")
	s.names = append(s.names, "include", "exclude", "longest", "allow-damaged")
}

// parse returns the selection. Relative times count back from now.
func (s *selection) parse(now time.Time) (sel snapshot.Selection, err error) {
	f := s.inspect.Filter
	if f.From != "" && s.inspect.Since != "" {
		return sel, errors.New("--since and --from-time: want one of them")
	}
	if s.longest <= 0 {
		return sel, fmt.Errorf("longest %s: want a duration, such as 1h", s.longest)
	}
	f.From = cmp.Or(f.From, s.inspect.Since)
	q, err := f.Query(now)
	if err != nil {
		return sel, err
	}
	q.Longest = s.longest
	sel = snapshot.Selection{Query: q, Asked: map[string]string{}, AllowDamaged: s.allowDamaged}
	for _, name := range s.names {
		if f := s.cmd.Flags().Lookup(name); f.Changed {
			sel.Asked[name] = f.Value.String()
		}
	}
	delete(sel.Asked, "since") // from-time has it as a time
	for name, t := range map[string]time.Time{"from-time": q.From, "to-time": q.To} {
		if !t.IsZero() {
			sel.Asked[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	if s.include+s.exclude != "" {
		rules, err := filter.Parse(map[string]string{"include": s.include, "exclude": s.exclude})
		if err != nil {
			return sel, err
		}
		sel.Match = func(e *recording.Exchange) bool { return rules.Keeps(snapshot.Asked(e)) }
	}
	return sel, q.Check()
}
