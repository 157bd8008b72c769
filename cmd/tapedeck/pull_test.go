package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestPullWithoutKubectlSaysWhatToDo(t *testing.T) {
	t.Setenv("PATH", "")
	var stderr bytes.Buffer
	code := run([]string{"pull", "pod/cart-0", t.TempDir()}, strings.NewReader(""), nil, &stderr)
	const want = "or run kubectl elsewhere, and pipe the output of /tapedeck-proxy export into tapedeck pull - DIR"
	if code != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
