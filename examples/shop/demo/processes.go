package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// processes has the processes that the demo started, in that order.
type processes []*exec.Cmd

// start runs a program with exactly the given environment.
func (p *processes) start(path string, args []string, env ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Env = env
	log, err := os.Create(path + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	fmt.Printf("started %s, process %d\n", filepath.Base(path), cmd.Process.Pid)
	*p = append(*p, cmd)
	return nil
}

// stop ends the programs as the kubelet does: first the application, then the
// sidecar.
func (p *processes) stop() {
	for i := len(*p) - 1; i >= 0; i-- {
		_ = (*p)[i].Process.Signal(syscall.SIGTERM)
		_ = (*p)[i].Wait()
	}
	*p = nil
}

// listenAsCluster starts an HTTP proxy that knows the cluster's names.
func listenAsCluster(names map[string]string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	direct := &http.Transport{Proxy: nil}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			address, ok := names[r.URL.Host]
			if !ok {
				http.Error(w, "the cluster has no "+r.URL.Host, http.StatusBadGateway)
				return
			}
			out := r.Clone(r.Context())
			out.RequestURI = ""
			out.URL.Host = address
			res, err := direct.RoundTrip(out)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer res.Body.Close()
			for name, values := range res.Header {
				w.Header()[name] = values
			}
			w.WriteHeader(res.StatusCode)
			_, _ = io.Copy(w, res.Body)
		}))
	}()
	return l, nil
}
