package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/replay/carry"
)

// suppliedFlags supply values that requests carry and the recording lacks.
type suppliedFlags struct {
	set                []string
	credentials        []string
	withoutCredentials string
	carryRules         string
}

func (f *suppliedFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.set, "set", nil, "set a part of each request to a value, such as `header.Authorization=env:TOKEN`; may be repeated")
	fs.StringArrayVar(&f.credentials, "credentials", nil, "`file` with values as for --set, one on each line; may be repeated")
	fs.StringVar(&f.withoutCredentials, "without-credentials", "stop", "if requests lack credentials: `stop`, leave-out those requests, or send them as recorded")
	fs.StringVar(&f.carryRules, "carry-rules", "", "`file` with rules for values that requests carry from earlier answers")
}

// settings reads the values that the user supplies.
func (f *suppliedFlags) settings() (all []carry.Setting, err error) {
	add := func(where, line string) error {
		one, err := carry.ParseSetting(line, os.LookupEnv)
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		all = append(all, one)
		return nil
	}
	for _, line := range f.set {
		if err := add("--set", line); err != nil {
			return nil, err
		}
	}
	for _, file := range f.credentials {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--credentials: %w", err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if err := add(fmt.Sprintf("--credentials %s: line %d", file, i+1), line); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}
