package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// server is a program that receives segments.
type server struct {
	name string
	args func(o options, self, keyFile, dir string) []string
	// listens begins the line with the address on which it listens.
	listens string
}

var (
	plainCopy = server{"a plain copy", func(_ options, self, _, dir string) []string { return []string{self, "-copy", dir} }, "copies on "}
	collect   = server{"tapedeck collect", func(o options, _, keyFile, dir string) []string {
		return []string{o.tapedeck, "collect", dir, "--listen", "127.0.0.1:0", "--read", "", "--admin", "127.0.0.1:0", "--key-file", keyFile}
	}, "tapedeck: receiving segments on "}
)

// measure starts a server, and makes the pods send all their segments to it.
func measure(ctx context.Context, o options, s server, dir string, seg *segment) (r row, err error) {
	r = row{name: s.name, bytes: int64(len(seg.bytes)) * int64(o.segments)}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	// The collector's own files are next to the store, as on a node.
	place, temp, keyFile := filepath.Join(dir, "place"), filepath.Join(dir, "temp"), filepath.Join(dir, "key")
	key := rand.Text()
	if err := errors.Join(os.Mkdir(place, 0o700), os.Mkdir(temp, 0o700), os.WriteFile(keyFile, []byte(key), 0o600)); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(place), os.RemoveAll(temp)) }()
	args := s.args(o, self, keyFile, place)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", procs), "TMPDIR="+temp)
	address, end, err := start(cmd, s.listens)
	if err != nil {
		return r, err
	}
	var early atomic.Int64
	l := load{address: address, token: contract.CollectorToken([]byte(key), cluster, namespace), protocol: o.protocol, segments: o.segments}
	l.reached = func(stored int64) {
		if stored == int64(o.segments)/10 {
			early.Store(resident(cmd.Process.Pid))
		}
	}
	began := time.Now()
	err = l.send(ctx, seg, o.pods)
	r.took, r.early, r.late, r.busy = time.Since(began), early.Load(), resident(cmd.Process.Pid), l.busy.Load()
	if err = errors.Join(err, end()); err != nil {
		return r, err
	}
	r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return r, check(place, o.segments, r.bytes)
}

// start starts a server, and waits until it prints its address. end stops it in order.
func start(cmd *exec.Cmd, listens string) (address string, end func() error, err error) {
	out, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	in := bufio.NewReader(out)
	first, err := in.ReadString('\n')
	said := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(in)
		said <- string(text)
	}()
	end = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		text := <-said
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("the server: %w: %.500s", err, text)
		}
		return nil
	}
	rest, ok := strings.CutPrefix(first, listens)
	if !ok {
		return "", nil, errors.Join(fmt.Errorf("the server does not listen: %s", first), err, end())
	}
	address, _, _ = strings.Cut(strings.TrimSpace(rest), " ")
	return address, end, nil
}

// resident returns a process's peak resident memory.
func resident(pid int) (peak int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fmt.Sscanf(rest, "%d kB", &peak)
	return peak << 10
}

// check returns an error unless the store has all segments.
func check(place string, segments int, size int64) error {
	files, bytes := 0, int64(0)
	err := filepath.WalkDir(place, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(d.Name(), recording.SegmentSuffix) {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files, bytes = files+1, bytes+info.Size()
		}
		return err
	})
	if err == nil && (files != segments || bytes != size) {
		err = fmt.Errorf("the store has %d files of %d bytes, want %d of %d", files, bytes, segments, size)
	}
	return err
}

// serveCopy stores each body in a file, and syncs it before it answers. That is the least that
// a server must do to accept the same requests and lose nothing.
func serveCopy(ctx context.Context, dir string) error {
	srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := copyTo(filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(r.URL.Path, contract.SegmentsPath), "/", "+")), r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, plainCopy.listens+l.Addr().String())
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func copyTo(name string, body io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
