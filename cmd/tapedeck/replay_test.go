package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Wrong flags end a replay before it reads the recording.
func TestReplayRefusesWrongFlags(t *testing.T) {
	for _, c := range []struct{ flags, want string }{
		{"--rate NaN", "--rate NaN: want a number from 0 to 1000000"},
		{"--rate Inf", "--rate +Inf: want a number"},
		{"--rate -1", "--rate -1: want a number"},
		{"--users -1", "--users -1: want 0 or more"},
		{"--sessions -1", "--sessions -1: want 0 or more"},
		{"--copies 0", "--copies 0: want 1 or more"},
		{"--times -1", "--times -1: want 0 or more"},
		{"--requests -1", "--requests -1: want 0 or more"},
		{"--for -1s", "--for -1s: want 0 or more"},
		{"--timeout -1s", "--timeout -1s: want 0 or more"},
		{"--max-in-flight -1", "--max-in-flight -1: want 0 or more"},
		{"--max-lag -1s", "--max-lag -1s: want 0 or more"},
		{"--max-rate NaN", "--max-rate NaN: want 0 or more"},
		{"--max-requests -1", "--max-requests -1: want 0 or more"},
		{"--speed NaN", `--speed "NaN": want a factor`},
		{"--speed 1e-300", `--speed "1e-300": want a factor`},
		{"--speed 0", `--speed "0": want a factor`},
		{"--rate 1 --users 2", "want one of them"},
		{"--copies 2 --users 2", "--copies: it can't be combined with --rate"},
		{"--stage rate=1,for=1s --stage vus=1,for=1s", "not both"},
		{"--set TOP-SECRET", "setting: want a place"},
		{"--set =TOP-SECRET", "the path is empty"},
		{"--set res.body=TOP-SECRET", "want a place"},
		{"--only all", "want safe"},
		{"--mock", "want a command"},
		{"--mock-passthrough example.com", "it needs --mock"},
		{"--output xml", "allowed: pretty"},
		{"--report same --html ./same", "--report and --html: both would write ./same"},
		{"--accept .", "it is a directory"},
		{"--junit nowhere/replay.xml", "--junit: stat nowhere: no such file"},
		{"--no-compare --verify-fix", "--no-compare: it can't be combined with --accept"},
		{"--target 0=http://a", "want URL, or PORT=URL with the port at which requests were captured, from 1 to 65535"},
		{"--target 99999=http://a", "from 1 to 65535"},
		{"--target http://a --target http://b", "--target http://b: another --target is for the same requests"},
		{"--target 80=http://a --target 080=http://b", "another --target is for the same requests"},
		{"--shard 3/3", `--shard "3/3": want INDEX/OF with an index from 0`},
		{"--shard 1", `--shard "1": want INDEX/OF`},
		{"--shard -1/2", `want INDEX/OF`},
		{"--shard 0/10001", `at most 10000 shards`},
		{"--shard 0/2 --accept rules.yaml", "--accept: want it without --shard and --meet"},
		{"--meet recordings", "--meet and --run: want both or none"},
		{"--run job/uid", "--meet and --run: want both or none"},
		{"--meet recordings --run ../up", `--run "../up": want JOB/UID`},
		{"--meet recordings --run a//b", `--run "a//b": want JOB/UID`},
		{"--meet https://collector:8443 --run job/uid", "--meet: https://collector:8443: commands can't write to a collector"},
		{"--meet recordings/snapshots/0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e --run job/uid", "want the place, not a snapshot"},
		{"--progress-timeout -1s", "--progress-timeout -1s: want 0 or more"},
		{"--envoy perhaps", `--envoy "perhaps": want none, auto or wait`},
		{"--responder localhost:4141", "--responder: want a URL such as http://localhost:4141"},
		{"--responder http://user:TOP-SECRET@mock:4141", "want a URL"},
		{"--responder http://mock:4141/?token=TOP-SECRET", "without a user, a path, a query or a fragment"},
		{"--responder http://mock:4141#TOP-SECRET", "without a user, a path, a query or a fragment"},
		{"--responder http://mock:4141 --mock -- app", "--responder and --mock: want one of them"},
		{"--meet recordings --run job/uid -- app", "--meet: want it without a command"},
		{"--termination-log nowhere/log", "--termination-log: stat nowhere: no such file"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(append([]string{"replay", "nowhere"}, strings.Fields(c.flags)...), strings.NewReader(""), &stdout, &stderr)
		if code != codeCannotRun || !strings.Contains(stderr.String(), c.want) || stdout.Len() > 0 {
			t.Errorf("%s: exit code %d, %s", c.flags, code, &stderr)
		}
		if strings.Contains(stderr.String(), "TOP-SECRET") {
			t.Errorf("%s: the error shows the value: %s", c.flags, &stderr)
		}
	}
}

// An error about a file of credentials names the line, and does not quote it.
func TestReplayNamesTheLineOfCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("# of staging\n\nbody.password=TOP-SECRET\nTOP-SECRET\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run([]string{"replay", "nowhere", "--credentials", file}, strings.NewReader(""), &stdout, &stderr)
	if code != codeCannotRun || !strings.Contains(stderr.String(), "credentials: line 4: setting: want a place") || strings.Contains(stderr.String(), "TOP-SECRET") {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
}
