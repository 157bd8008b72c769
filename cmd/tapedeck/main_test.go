package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/archive"
	"github.com/tapedeck/tapedeck/recording/spool"
)

var update = flag.Bool("update", false, "rewrite the wanted output in testdata and examples")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tapedeck": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"slowapp":  slowApp,
		"record":   record,
		"kubectl":  kubectl,
		"greeter":  greeter,
		"fetch":    fetch,
		"send":     send,
		"waiter":   waiter,
	})
}

// record writes exchanges into a directory, as a sidecar does: record DIR PATH...
func record() {
	r, err := spool.Open(os.Args[1], spool.Options{SegmentOptions: spool.SegmentOptions{Cluster: "c1", Namespace: "shop", Workload: "cart", Pod: "cart-0"}})
	if err != nil {
		panic(err)
	}
	for i, path := range os.Args[2:] {
		err := r.Write(&recording.Exchange{
			MsgType: recording.MsgType, UUID: recording.UUID{byte(i + 1)}, TS: time.Now(), Direction: recording.In, L7Protocol: recording.HTTP1,
			Cluster: "c1", Namespace: "shop", Service: "cart", Command: "GET", Location: path, Status: "200", NetworkAddress: "cart:80",
		})
		if err != nil {
			panic(err)
		}
	}
	if err := r.Close(context.Background()); err != nil {
		panic(err)
	}
}

// kubectl acts for a cluster with one pod, whose recordings are in $POD.
func kubectl() {
	args := strings.Join(os.Args[1:], " ")
	const want = "exec pod/cart-0 --container=tapedeck-proxy --namespace=shop --context=prod -- /tapedeck-proxy export"
	if args != want {
		fmt.Fprintf(os.Stderr, "Error from server (NotFound): pods \x1b[31mnot found\nwant kubectl %s\n", want)
		os.Exit(1)
	}
	if _, err := archive.Write(context.Background(), os.Stdout, os.Getenv("POD"), "v1"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// slowApp listens on the first of its ports and never answers. When it gets a request, it says so
// through the second port.
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

// ownNetwork reports whether a script can have a separate network: the admin port is the same for
// every sidecar.
var ownNetwork = sync.OnceValue(func() bool {
	return exec.Command("unshare", "--net", "--map-root-user", "ip", "link", "set", "lo", "up").Run() == nil
})

// TestScripts runs the command lines of testdata/script, each with the files in it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Condition: func(name string) (bool, error) {
			if name == "netns" {
				return ownNetwork(), nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE")) // see the Makefile
			return nil
		},
	})
}

// exits checks that a program ends with an exit code: exits CODE PROGRAM ARGUMENT...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); !errors.As(err, &ended) || strconv.Itoa(ended.ExitCode()) != args[0] {
		ts.Fatalf("%v, want exit code %s", err, args[0])
	}
}

// TestShop renders the example application as `make demo` does, and compares the result with its
// README.
func TestShop(t *testing.T) {
	const shop = "../../examples/shop/"
	var stdout, stderr bytes.Buffer
	args := []string{"render", "--diff", "--set", "image=" + contract.Image, shop + "manifests"}
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
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		if c.Example == "" && c.Parent() != nil && c.Parent().Name() != "completion" { // cobra has its own text there
			t.Errorf("%s has none", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(newRoot())
}
