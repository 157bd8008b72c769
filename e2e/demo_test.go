package e2e

import (
	"strings"
	"testing"
)

// TestDemo runs the commands at the top of the README, and looks for each part of the story: the
// diff, the report, the answers, every exchange in both directions, and what a replay finds in the
// same build and in a changed one.
func TestDemo(t *testing.T) {
	out := string(run(t, repo, nil, needPath(t, "go"), "run", "./examples/shop/demo").ok(t))
	for _, want := range []string{
		"+      initContainers:",
		"defaultEndpoint: 127.0.0.1:4143",
		`200 OK {"item":"tea","quantity":2,"totalCents":900}`,
		"502 Bad Gateway",
		"4 answers: 4 match, 0 have known differences, 0 have new ones",
		"body:$.totalCents  changed  900       1390",
		"exit code 3: 1 new difference\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	_, captured, _ := strings.Cut(out, "5. What was captured")
	captured, _, _ = strings.Cut(captured, "6. Replay")
	if n := lines(captured, "OUT", "/prices/", " - "); n != 0 {
		t.Errorf("%d outbound exchanges have no cause:\n%s", n, captured)
	}
	for direction, path := range map[string]string{"IN": "/checkout", "OUT": "/prices/"} {
		if n := lines(captured, direction, path); n != 4 {
			t.Errorf("%d exchanges %s with %s are shown, 4 took place:\n%s", n, direction, path, captured)
		}
	}
}

// lines counts the lines that contain all of some words.
func lines(text string, words ...string) int {
	n := 0
next:
	for line := range strings.Lines(text) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}
