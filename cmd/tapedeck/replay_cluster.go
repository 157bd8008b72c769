package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/replay/report"
)

// clusterFlags are the flags of a generator in a cluster, which may be one of several shards.
type clusterFlags struct {
	meet, id, shard string
	progressTimeout time.Duration
	envoy           string
	waitForTarget   bool
	responder       string
	slices          []string
	buildTag        string
	terminationLog  string
}

// Ways to treat the Envoy of the pod.
const (
	envoyNone = "none"
	envoyAuto = "auto"
	envoyWait = "wait"
)

func (f *clusterFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.slices, "slice", nil, "send only exchanges with this `key`, SERVICE:HOST:PORT or a unique part of it; may be repeated")
	fs.StringVar(&f.buildTag, "build-tag", "", "`text` that names the build in the report")
	fs.StringVar(&f.shard, "shard", "", "send one part of the recording, `INDEX/OF` such as 0/3; other processes send the other parts")
	fs.StringVar(&f.meet, "meet", "", "`place` where the shards meet and shard 0 writes the report, below runs/RUN")
	fs.StringVar(&f.id, "run", "", "`ID` of the run that the shards belong to, as JOB/UID; needed with --meet")
	fs.DurationVar(&f.progressTimeout, "progress-timeout", 0, "end the run after this `time` without progress, and each wait after this time; 0 means "+contract.DefaultReplayTimeout+" if the replay meets shards or waits for something, and no limit otherwise")
	fs.BoolVar(&f.waitForTarget, "wait-for-target", false, "wait until the target answers OPTIONS / with a status other than 502, 503 and 504, for at most --progress-timeout")
	fs.StringVar(&f.responder, "responder", "", "`URL` of the admin port of the mock of the target's dependencies; the report includes its receipt")
	fs.StringVar(&f.envoy, "envoy", envoyNone, "the Envoy of this pod: `none` ignores it, wait waits for it and ends it afterwards, auto does the same if one listens within 3s")
	fs.StringVar(&f.terminationLog, "termination-log", "", "`file` for the summary or the error, in at most 4096 bytes; with --meet, the default is "+contract.TerminationLog+" if that exists")
}

// gathering has the values of the flags of a cluster.
type gathering struct {
	place     contract.Place // without a scheme: shards do not meet
	run       string
	shard     report.Shard // of 1 at least
	responder *url.URL     // nil: there is none
	// timeout ends a run that makes no progress; 0: never.
	timeout time.Duration
}

// meets reports whether the shards meet. The report is stored where they do.
func (g *gathering) meets() bool { return g.place.Scheme != "" }

// ownFlags may differ between the shards of a run. They say where a process writes, what it
// waits for and how it reaches the place. The values of --set may be secret.
var ownFlags = []string{"shard", "meet", "run", "set", "progress-timeout", "wait-for-target", "envoy", "termination-log", "temp-dir", "temp-size", "output", "report", "html", "junit", "markdown"}

// alike is a digest of the settings that must be the same in all shards of a run. Otherwise
// their results could not be merged.
func alike(fs *pflag.FlagSet, place string, set []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", place)
	fs.VisitAll(func(one *pflag.Flag) {
		if !slices.Contains(ownFlags, one.Name) {
			fmt.Fprintf(h, "%s=%q\n", one.Name, one.Value.String())
		}
	})
	for _, one := range set {
		name, _, _ := strings.Cut(one, "=")
		fmt.Fprintf(h, "%q\n", name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// runID matches the values of --run. They have two parts, because tapedeck report list looks
// for runs two folders deep.
var runID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)

// parse reads the flags.
func (f *clusterFlags) parse() (g gathering, err error) {
	if g.shard, err = parseShard(f.shard); err != nil {
		return g, err
	}
	switch {
	case (f.meet == "") != (f.id == ""):
		return g, errors.New("--meet and --run: want both or none")
	case f.progressTimeout < 0:
		return g, fmt.Errorf("--progress-timeout %s: want 0 or more", f.progressTimeout)
	case f.envoy != envoyNone && f.envoy != envoyAuto && f.envoy != envoyWait:
		return g, fmt.Errorf("--envoy %q: want %s, %s or %s", f.envoy, envoyNone, envoyAuto, envoyWait)
	}
	if f.meet != "" {
		if g.place, err = contract.ParsePlace(f.meet); err == nil {
			err = checkMeeting(g.place)
		}
		if err != nil {
			return g, fmt.Errorf("--meet: %w", err)
		}
		g.run = contract.RunsDir + "/" + f.id
		if !runID.MatchString(f.id) {
			return g, fmt.Errorf("--run %q: want JOB/UID, two names of letters, digits, -, _ and . that begin with a letter or a digit, such as nightly/7", f.id)
		}
		if err := contract.CheckObjectKey(g.run + "/report.json"); err != nil {
			return g, fmt.Errorf("--run: %w", err)
		}
	}
	if f.responder != "" {
		if g.responder, err = url.Parse(f.responder); err != nil || g.responder.Scheme != "http" && g.responder.Scheme != "https" || g.responder.Host == "" || strings.Trim(g.responder.Path, "/") != "" || g.responder.User != nil || strings.ContainsAny(f.responder, "?#") {
			return g, fmt.Errorf("--responder: want a URL such as http://localhost:%d, without a user, a path, a query or a fragment", contract.ResponderAdminPort)
		}
	}
	if g.timeout = f.progressTimeout; g.timeout == 0 && (f.meet != "" || f.waitForTarget || f.responder != "" || f.envoy != envoyNone) {
		if g.timeout, err = time.ParseDuration(contract.DefaultReplayTimeout); err != nil {
			return g, err
		}
	}
	if f.terminationLog != "" {
		if _, err := os.Stat(filepath.Dir(f.terminationLog)); err != nil {
			return g, fmt.Errorf("--termination-log: %w", err)
		}
	}
	return g, nil
}

// checkMeeting rejects places that shards can't write to.
func checkMeeting(p contract.Place) error {
	if _, is, err := p.Snapshot(); err != nil || is {
		return fmt.Errorf("%s: want the place, not a snapshot in it", p)
	}
	if p.IsCollector() {
		return fmt.Errorf("%s: commands can't write to a collector; name the directory or the bucket that it stores in", p)
	}
	return nil
}

// parseShard reads INDEX/OF.
func parseShard(text string) (s report.Shard, err error) {
	if text == "" {
		return report.Shard{Of: 1}, nil
	}
	index, of, _ := strings.Cut(text, "/")
	i, iErr := strconv.ParseUint(index, 10, 16)
	n, nErr := strconv.ParseUint(of, 10, 16)
	if iErr != nil || nErr != nil || i >= n || n > report.MaxShards {
		return s, fmt.Errorf("--shard %q: want INDEX/OF with an index from 0 and at most %d shards, such as 0/3", text, report.MaxShards)
	}
	return report.Shard{Index: int(i), Of: int(n)}, nil
}
