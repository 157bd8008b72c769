// Package wrap runs a command on this machine and sends its outbound traffic through a proxy of
// Tapedeck, as in a rendered pod.
//
//	environment ─▶ proxy variables, trust variables ─▶ command
//	signals     ─▶ the same signals                 ─▶ command and what it started
//	              its status                        ◀─ command
//
// A private directory has the certificate of the run's CA, and is removed afterwards. The key of
// the CA is never written.
//
// A command without a person at a terminal runs in a process group, and nothing in this group
// outlives the run. At a terminal, the command stays in the foreground, so that keys reach
// everything that it started. The package imports transformer for the table of variables,
// cmd/internal/signals and terminal, proxy/ca, proxy/trust and the standard library.
package wrap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/cmd/internal/signals"
	"github.com/tapedeck/tapedeck/cmd/internal/terminal"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/trust"
	"github.com/tapedeck/tapedeck/transformer"
)

// caLife is how long the CA of a run is valid: longer than any run.
const caLife = 30 * 24 * time.Hour

// CA is the CA of one run.
type CA struct {
	Authority *ca.Authority
	// Dir holds the trust files.
	Dir string
}

// NewCA makes a CA and writes its trust files below a directory; "" is the system's. Remove removes
// them.
func NewCA(temp string) (*CA, error) {
	cert, key, err := ca.Generate("Tapedeck, for one run", time.Now(), caLife)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	authority, err := ca.New(pair)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return Trust(authority, temp)
}

// Trust writes the trust files of a CA below a directory; "" is the system's. Remove removes them.
func Trust(authority *ca.Authority, temp string) (*CA, error) {
	dir, err := os.MkdirTemp(temp, "tapedeck-trust-") // 0700: nobody else may put a certificate there
	if err != nil {
		return nil, fmt.Errorf("make a directory for the trust files: %w", err)
	}
	c := &CA{authority, dir}
	roots, err := trust.Load("")
	if err == nil {
		err = roots.Write(dir, authority.Certificate())
	}
	if err != nil {
		c.Remove()
		return nil, err
	}
	return c, nil
}

// Remove removes the trust files.
func (c *CA) Remove() { _ = os.RemoveAll(c.Dir) }

// Command is a command to run.
type Command struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Env is its whole environment, as [Environment] returns it.
	Env []string
	// Detached means that it needs no terminal, even if its output goes to one.
	Detached bool
	// Kill ends it at once when closed. It may be nil.
	Kill <-chan struct{}
}

// Environment returns the process's environment with the variables that send a program through a
// proxy on a loopback port and make it trust the CA. It replaces variables of the same names,
// including NO_PROXY, and removes variables that name other proxies, because traffic that bypasses
// the proxy is neither recorded nor blocked.
func Environment(port int, c *CA) []string {
	set := transformer.LocalVariables(port, c.Dir, os.Getenv)
	gone := map[string]bool{}
	for _, v := range set {
		name, _, _ := strings.Cut(v, "=")
		gone[name] = true
	}
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !gone[name] && !slices.Contains(otherProxies, strings.ToLower(name)) {
			env = append(env, v)
		}
	}
	return append(env, set...)
}

// otherProxies are further variables, in lower case, that send programs through a proxy or past
// one.
var otherProxies = []string{"all_proxy", "ftp_proxy", "grpc_proxy", "no_grpc_proxy", "ws_proxy", "wss_proxy", "socks_proxy", "rsync_proxy",
	"npm_config_proxy", "npm_config_https_proxy", "npm_config_http_proxy", "npm_config_noproxy", "global_agent_http_proxy", "global_agent_no_proxy"}

// Status is how a command ended.
type Status struct {
	// Code is its exit code, or 128 plus the number of the signal that ended it, as in a shell.
	Code int
	// Signal is that signal's name, "" if there was none.
	Signal string
}

// String describes the status for people.
func (s Status) String() string {
	if s.Signal != "" {
		return fmt.Sprintf("was ended by a signal: %s", s.Signal)
	}
	return fmt.Sprintf("exit code %d", s.Code)
}

// forwarded are the signals that are passed on. A terminal sends the signals of its keys to the
// command directly.
var forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}

// Run runs the command until it ends, and passes on the signals that this process gets. The error
// means that the command could not be run. If ctx ends for a reason other than a signal, the
// command gets SIGTERM, and is killed after grace. When the command ends, the processes that are
// left in its process group end in the same way.
func Run(ctx context.Context, c Command, grace time.Duration) (Status, error) {
	got := make(chan os.Signal, 16)
	signal.Notify(got, forwarded...)
	defer signal.Stop(got)
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Env, c.Stdin, c.Stdout, c.Stderr
	atTerminal := terminal.Is(c.Stdin)
	g := group{cmd: cmd, own: c.Detached || !atTerminal && !terminal.Is(c.Stdout) && !terminal.Is(c.Stderr)}
	if g.own {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = grace // for processes that the command leaves behind and that still write
	}
	if err := cmd.Start(); err != nil {
		return Status{}, fmt.Errorf("run %s: %w", c.Args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	over := ctx.Done()
	var kill <-chan time.Time
	for {
		select {
		case s := <-got:
			if sig, ok := s.(syscall.Signal); ok && (g.own || !atTerminal || sig != syscall.SIGINT && sig != syscall.SIGQUIT) {
				g.signal(sig)
			}
		case <-over:
			over = nil
			if _, ok := signals.Received(ctx); ok { // got receives it, too
				break
			}
			g.signal(syscall.SIGTERM)
			kill = time.After(grace)
		case <-kill:
			g.signal(syscall.SIGKILL)
		case <-c.Kill:
			c.Kill = nil
			g.signal(syscall.SIGKILL)
		case err := <-ended:
			g.end(grace, c.Kill)
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
				return Status{}, fmt.Errorf("run %s: %w", c.Args[0], err)
			}
			return status(cmd.ProcessState), nil
		}
	}
}

func status(state *os.ProcessState) Status {
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return Status{128 + int(w.Signal()), w.Signal().String()}
	}
	return Status{Code: state.ExitCode()}
}
