package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/schedule"
)

// loadFlags say when requests are sent, and how many at most.
type loadFlags struct {
	load        replay.Load // as far as its fields are flags
	speed       string
	stages      []string
	maxInFlight int
	maxLag      time.Duration
	bounds      replay.Bounds
}

func (f *loadFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.speed, "speed", "1", "divide recorded times and pauses by this `factor`, such as 2 or 0.5x")
	fs.IntVar(&f.load.Copies, "copies", 1, "send this many copies of the recording at the same time")
	fs.Float64Var(&f.load.Rate, "rate", 0, "send this many requests per second, in recorded order, instead of at recorded times")
	fs.IntVarP(&f.load.Users, "users", "u", 0, "closed loop: this many `virtual users` each go through the recording as fast as answers come")
	fs.IntVar(&f.load.Sessions, "sessions", 0, "closed loop: send this many recorded `sessions` at a time, with their pauses")
	fs.StringArrayVar(&f.stages, "stage", nil, "a stage of the load, such as `rate=50,for=30s,ramp=5s` or vus=10,for=1m; may be repeated")
	fs.IntVarP(&f.load.Passes, "times", "n", 0, "go through the recording this many times; 0 means once, or as often as --for or --requests allow")
	fs.DurationVarP(&f.load.For, "for", "f", 0, "stop sending after this `time`")
	fs.Int64Var(&f.load.Requests, "requests", 0, "stop after this many requests")
	fs.IntVar(&f.maxInFlight, "max-in-flight", replay.DefaultInFlight, "most requests under way at a time; further ones are sent late, and counted")
	fs.DurationVar(&f.maxLag, "max-lag", replay.DefaultLag, "the result is void if more than one request in a hundred is sent later than this `time`")
	fs.Float64Var(&f.bounds.PerSecond, "max-rate", 5000, "reject a load of more `requests per second`; 0 means no limit")
	fs.Int64Var(&f.bounds.Requests, "max-requests", 5_000_000, "reject a load of more `requests`; 0 means no limit")
}

// shape reads the flags. It also checks --timeout and --max-time.
func (f *loadFlags) shape(timeout, maxTime time.Duration) (l replay.Load, err error) {
	l = f.load
	if l.Speed, err = strconv.ParseFloat(strings.TrimSuffix(f.speed, "x"), 64); err != nil || !(l.Speed >= 1e-6 && l.Speed <= 1e6) { // false for NaN
		return l, fmt.Errorf("--speed %q: want a factor from 0.000001 to 1000000, such as 2 or 0.5x", f.speed)
	}
	for _, one := range []struct {
		flag        string
		value       any
		number      float64
		least, most float64
	}{
		{"rate", l.Rate, l.Rate, 0, 1e6},
		{"users", l.Users, float64(l.Users), 0, math.Inf(1)},
		{"sessions", l.Sessions, float64(l.Sessions), 0, math.Inf(1)},
		{"copies", l.Copies, float64(l.Copies), 1, math.Inf(1)},
		{"times", l.Passes, float64(l.Passes), 0, math.Inf(1)},
		{"requests", l.Requests, float64(l.Requests), 0, math.Inf(1)},
		{"for", l.For, float64(l.For), 0, math.Inf(1)},
		{"timeout", timeout, float64(timeout), 0, math.Inf(1)},
		{"max-time", maxTime, float64(maxTime), 0, math.Inf(1)},
		{"max-in-flight", f.maxInFlight, float64(f.maxInFlight), 0, math.Inf(1)},
		{"max-lag", f.maxLag, float64(f.maxLag), 0, math.Inf(1)},
		{"max-rate", f.bounds.PerSecond, f.bounds.PerSecond, 0, math.Inf(1)},
		{"max-requests", f.bounds.Requests, float64(f.bounds.Requests), 0, math.Inf(1)},
	} {
		switch {
		case one.number >= one.least && one.number <= one.most:
		case math.IsInf(one.most, 1):
			return l, fmt.Errorf("--%s %v: want %.0f or more", one.flag, one.value, one.least)
		default:
			return l, fmt.Errorf("--%s %v: want a number from %.0f to %.0f", one.flag, one.value, one.least, one.most)
		}
	}
	ways := 0
	for _, set := range []bool{l.Rate != 0, l.Users != 0, l.Sessions != 0, len(f.stages) > 0} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		return l, errors.New("--rate, --users, --sessions and --stage: want one of them")
	case l.Copies > 1 && ways > 0:
		return l, errors.New("--copies: it can't be combined with --rate, --users, --sessions and --stage, which don't send at recorded times")
	}
	for _, text := range f.stages {
		unit, s, err := schedule.ParseStage(text)
		if err != nil {
			return l, fmt.Errorf("--stage: %w", err)
		}
		if users := unit == "vus"; len(l.Stages) > 0 && users != l.StagesAreUsers {
			return l, fmt.Errorf("--stage %s: want stages of rates or of vus, not both", text)
		} else {
			l.StagesAreUsers = users
		}
		l.Stages = append(l.Stages, s)
	}
	return l, nil
}
