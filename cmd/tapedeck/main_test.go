package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the wanted output in testdata and examples")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tapedeck": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"slowapp":  slowApp,
	})
}

// slowApp listens on the first port that it is given and never answers. Once
// it was asked for something, through the second port, it says so.
func slowApp() {
	app, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		panic(err)
	}
	client, err := net.Dial("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		panic(err)
	}
	if _, err := client.Write([]byte("?")); err != nil {
		panic(err)
	}
	c, err := app.Accept()
	if err != nil {
		panic(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		panic(err)
	}
	fmt.Println("asked")
	c.Read(make([]byte, 1))
}

// ownNetwork reports whether a script can have a network to itself: the admin
// port is the same for every sidecar.
var ownNetwork = sync.OnceValue(func() bool {
	return exec.Command("unshare", "--net", "--map-root-user", "ip", "link", "set", "lo", "up").Run() == nil
})

// TestScripts runs the command lines of testdata/script, each with the files
// that it holds.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Condition: func(name string) (bool, error) {
			if name == "netns" {
				return ownNetwork(), nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
	})
}

// TestShop renders the example application as `make demo` does, and compares
// with what its README shows.
func TestShop(t *testing.T) {
	const shop = "../../examples/shop/"
	var stdout, stderr bytes.Buffer
	args := []string{"render", "--diff", "--set", "image=ghcr.io/tapedeck/tapedeck:v0.1.0", shop + "manifests"}
	if code := run(args, nil, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	for name, got := range map[string][]byte{
		"diff.patch": stdout.Bytes(),
		"report.txt": bytes.ReplaceAll(stderr.Bytes(), []byte(shop), nil),
	} {
		golden := shop + "expected/" + name
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", golden, diff)
		}
	}
}

func TestEveryCommandHasAnExample(t *testing.T) {
	root := newRoot()
	for _, c := range append(root.Commands(), root) {
		if c.Example == "" {
			t.Errorf("%s has none", c.CommandPath())
		}
	}
}
