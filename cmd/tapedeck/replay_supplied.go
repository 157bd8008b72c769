package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/replay/carry"
)

// suppliedFlags say which values requests carry that are not recorded.
type suppliedFlags struct {
	set                []string
	credentials        []string
	withoutCredentials string
	carryRules         string
}

func (f *suppliedFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.set, "set", nil, "a value for a place of requests, as `header.Authorization=env:TOKEN`; may be repeated")
	fs.StringArrayVar(&f.credentials, "credentials", nil, "`file` with such values, one a line; may be repeated")
	fs.StringVar(&f.withoutCredentials, "without-credentials", "stop", "what to do with requests whose credentials are missing: `stop`, leave-out or send")
	fs.StringVar(&f.carryRules, "carry-rules", "", "`file` of rules for what is carried from answers to requests")
}

// settings reads what the user supplies.
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
