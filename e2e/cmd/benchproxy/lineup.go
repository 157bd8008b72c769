package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/e2e/internal/machine"
)

// Names of the contenders.
const (
	none         = "no proxy"
	nginx        = "nginx, HTTP"
	haproxy      = "HAProxy, TCP"
	capturing    = "tapedeck, capture"
	notCapturing = "tapedeck, capture off"
	goproxyRow   = "goproxy, recording"
	mitmproxy    = "mitmproxy, recording"
	capturingF   = "tapedeck forward, capture"
)

// contender is a proxy to measure.
type contender struct {
	name    string
	forward bool
	// start runs the proxy. recording is the file or directory that it writes,
	// "" if none. nil: there is no proxy.
	start func(ctx context.Context, address, dir string) (p *process, recording string, err error)
	// lines means that the recording has a line for each exchange.
	lines   bool
	version string
}

// lineup is everything that takes part.
type lineup struct {
	contenders []contender
	dir        string
	server     string
	missing    []string
}

// newLineup finds the programs. It leaves out missing ones, and notes them.
func newLineup(ctx context.Context, dir, tapedeck, server string, core int) (*lineup, error) {
	tapedeck, err := filepath.Abs(tapedeck)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &lineup{dir: dir, server: server}
	_, port, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	// One worker each, and Go programs one processor.
	one := []string{"GOMAXPROCS=1"}
	run := func(ctx context.Context, env []string, address string, args ...string) (*process, error) {
		return start(ctx, core, append(one, env...), address, args...)
	}
	configured := func(name, text string, command func(file string) []string) func(context.Context, string, string) (*process, string, error) {
		return func(ctx context.Context, address, dir string) (*process, string, error) {
			file := filepath.Join(dir, name)
			text := strings.NewReplacer("LISTEN", address, "SERVER", server, "DIR", dir, "CONNECTIONS", strconv.Itoa(idleCount()+50)).Replace(text)
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				return nil, "", err
			}
			p, err := run(ctx, nil, address, command(file)...)
			return p, "", err
		}
	}
	program := []string{tapedeck}
	if filepath.Base(tapedeck) == "tapedeck" { // the whole program, for earlier versions
		program = append(program, "proxy")
	}
	sidecar := func(kind, portVariable string, env ...string) func(context.Context, string, string) (*process, string, error) {
		return func(ctx context.Context, address, dir string) (*process, string, error) {
			recording := filepath.Join(dir, "recording")
			_, in, err := net.SplitHostPort(address)
			if err != nil {
				return nil, "", err
			}
			p, err := run(ctx, append(env, "PROXY_TYPE="+kind, portVariable+"="+in,
				"REVERSE_PROXY_HOST=127.0.0.1", "REVERSE_PROXY_PORT="+port,
				"TAPEDECK_SINK=file://"+recording, "TLS_CERT_DIR="+dir, "TAPEDECK_DRAIN=1s", "LOG_LEVEL=error",
				"HTTP_PROXY=", "ALL_PROXY=", "NO_PROXY="), address, program...)
			return p, recording, err
		}
	}
	f.contenders = append(f.contenders, contender{name: none})
	for _, c := range []struct {
		contender
		program string
		version []string
	}{
		{contender{name: nginx, start: configured("nginx.conf", nginxConfig, func(file string) []string {
			return []string{"nginx", "-c", file, "-p", filepath.Dir(file), "-e", "stderr"}
		})}, "nginx", []string{"-v"}},
		{contender{name: haproxy, start: configured("haproxy.cfg", haproxyConfig, func(file string) []string {
			return []string{"haproxy", "-db", "-f", file}
		})}, "haproxy", []string{"-v"}},
		{contender{name: capturing, lines: true, start: sidecar("reverse", "PROXY_IN_PORT")}, tapedeck, []string{"version"}},
		{contender{name: notCapturing, start: sidecar("reverse", "PROXY_IN_PORT", "TAPEDECK_MEMORY=0")}, tapedeck, nil},
		{contender{name: goproxyRow, forward: true, lines: true, version: moduleVersion("github.com/elazarl/goproxy"),
			start: func(ctx context.Context, address, dir string) (*process, string, error) {
				recording := filepath.Join(dir, "recording.jsonl")
				p, err := run(ctx, nil, address, self, "-goproxy", address, recording)
				return p, recording, err
			}}, self, nil},
		{contender{name: mitmproxy, forward: true, start: func(ctx context.Context, address, dir string) (*process, string, error) {
			recording := filepath.Join(dir, "recording.mitm")
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, "", err
			}
			p, err := run(ctx, nil, address, "mitmdump", "--quiet", "--listen-host", host, "--listen-port", port,
				"--save-stream-file", recording, "--set", "confdir="+dir)
			return p, recording, err
		}}, "mitmdump", []string{"--version"}},
		{contender{name: capturingF, forward: true, lines: true, start: sidecar("forward", "PROXY_OUT_PORT")}, tapedeck, nil},
	} {
		if _, err := exec.LookPath(c.program); err != nil {
			f.missing = append(f.missing, fmt.Sprintf("%s is left out: there is no %s (Debian: apt-get install %s)",
				c.name, c.program, strings.Replace(c.program, "mitmdump", "mitmproxy", 1)))
			continue
		}
		if c.version != nil {
			text, err := exec.CommandContext(ctx, c.program, c.version...).CombinedOutput()
			if err != nil {
				return nil, fmt.Errorf("ask %s for its version: %w: %s", c.program, err, text)
			}
			line, _, _ := strings.Cut(string(text), "\n")
			c.contender.version = strings.TrimSpace(line)
		}
		f.contenders = append(f.contenders, c.contender)
	}
	return f, nil
}

func moduleVersion(path string) string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == path {
			return path + " " + m.Version
		}
	}
	return path
}

// describe prints the conditions of the measurement.
func (f *lineup) describe(c cores) {
	fmt.Printf("%s\neach proxy one worker (GOMAXPROCS=1, worker_processes 1, nbthread 1) on core %d, client and server on core %d\n",
		machine.Describe(), c.proxy, c.load)
	for _, k := range f.contenders {
		if k.version != "" {
			fmt.Println("  " + k.version)
		}
	}
	for _, m := range f.missing {
		fmt.Println("  " + m)
	}
	fmt.Println()
}

const nginxConfig = `
daemon off;
worker_processes 1;
pid DIR/nginx.pid;
error_log stderr error;
events { worker_connections 30000; }
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  keepalive_requests 100000000;
  upstream app {
    server SERVER;
    keepalive 10000;
    keepalive_requests 100000000;
  }
  server {
    listen LISTEN;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_max_temp_file_size 0;
    }
  }
}
`

const haproxyConfig = `
global
  nbthread 1
  maxconn CONNECTIONS
defaults
  mode tcp
  timeout connect 10s
  timeout client 5m
  timeout server 5m
frontend in
  bind LISTEN
  default_backend app
backend app
  server app SERVER
`
