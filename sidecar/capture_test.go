package sidecar

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/decode"
	"github.com/tapedeck/tapedeck/proxy/decode/framework"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// noise returns text that compresses badly, and differs for every seed.
func noise(seed, size int) string {
	p := make([]byte, size/2)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(p)
	return hex.EncodeToString(p)
}

const requests = 400

// A request through the proxy is recorded in the directory, with the pod's name.
func TestRequestsAreRecorded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	cfg := config(t)
	cfg.Sink = dir
	cfg.Identity.App, cfg.Identity.Pod, cfg.Identity.Namespace = "cart", "cart-0", "shop"
	logs := &logs{}
	c, err := Open(cfg, "v1", logs.logger())
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, cfg, c, logs)
	s.send(t, requests, 100, true)
	s.stop()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for e, err := range read.All(t.Context(), read.Options{}, store.Dir(dir)) {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Location] = true
		if e.Service != "cart" || e.Namespace != "shop" || e.Direction != recording.In || e.Tags.Get("k8sAppPodName") != "cart-0" ||
			e.Tags.Get("proxyVersion") != "v1" || !bytes.Equal(e.HTTP.Req.Body, e.HTTP.Res.Body) || len(e.HTTP.Req.Body) != 100 {
			t.Fatalf("%+v", e)
		}
	}
	if l := s.ledger(t); len(seen) != requests || l.stored != requests || l.handed != requests || len(l.dropped) > 0 {
		t.Errorf("%d found, %+v", len(seen), l)
	}
}

// A limit of zero keeps no payload, in a body or in a stream. Its size is counted.
func TestALimitOfZeroKeepsNoPayload(t *testing.T) {
	dir := t.TempDir()
	cfg := config(t)
	cfg.BodyLimit = 0
	s := run(t, cfg, spool.Dir(dir))
	s.send(t, 1, 100, false)
	stream, err := net.Dial("tcp", s.InAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(stream, "\x00in no protocol\n")
	stream.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, stream)
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for e, err := range read.All(t.Context(), read.Options{}, store.Dir(dir)) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.L7Protocol)
		switch e.L7Protocol {
		case recording.HTTP1:
			if len(e.HTTP.Req.Body)+len(e.HTTP.Res.Body) > 0 || e.Tags.Get("requestBodySize") != "100" || e.Tags.Get("responseBodySize") != "100" {
				t.Errorf("%+v", e)
			}
		case recording.TCP:
			if len(e.TCP.Messages) > 0 || e.TCP.ClientBytes != 16 || e.TCP.ServerBytes == 0 {
				t.Errorf("%+v", e.TCP)
			}
		}
		if e.Tags.Get("truncated") != "true" {
			t.Errorf("%s: %v, want it marked as truncated", e.L7Protocol, e.Tags)
		}
	}
	if slices.Sort(kinds); !slices.Equal(kinds, []string{recording.HTTP1, recording.TCP}) {
		t.Errorf("records of %v", kinds)
	}
}

// full is a disk that takes some bytes, and no more.
type full struct {
	spool.Files
	room *int
}

func (f full) Create(key string) (spool.File, error) {
	if *f.room <= 0 {
		return nil, syscall.ENOSPC
	}
	s, err := f.Files.Create(key)
	return filling{s, f.room}, err
}

type filling struct {
	spool.File
	room *int
}

func (f filling) Write(p []byte) (int, error) {
	if len(p) < 8 { // the end of a frame goes where the cut-off bytes were
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:min(len(p), *f.room)])
	if *f.room -= n; n < len(p) && err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

// Requests are answered whatever happens to the place that recordings go to. Each request that is
// not recorded is counted.
func TestABrokenSinkIsNotInTheWay(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(t *testing.T, dir string) spool.Files
		// recovers tells that the sink may have room again, since the segment that broke off is removed.
		recovers bool
	}{
		{name: "full from the beginning", open: func(_ *testing.T, dir string) spool.Files { return full{spool.Dir(dir), new(int)} }},
		{name: "full on the way", open: func(_ *testing.T, dir string) spool.Files {
			room := 100 << 10
			return full{spool.Dir(dir), &room}
		}},
		{name: "a file system that is full", recovers: true, open: func(t *testing.T, dir string) spool.Files {
			mountSmall(t, dir)
			return spool.Dir(dir)
		}},
		{name: "a directory that can't be made", open: func(*testing.T, string) spool.Files { return spool.Dir("/dev/null/recordings") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := run(t, config(t), c.open(t, dir))
			s.send(t, requests, 2<<10, true)
			s.stop()
			s.capture.Close(t.Context()) // its error is the sink's
			l := s.ledger(t)
			if l.dropped["store_failed"] == 0 || len(l.dropped) != 1 || l.sum() != requests || l.pending != 0 {
				t.Errorf("%d requests: %+v", requests, l)
			}
			if found := recorded(t, dir); float64(found) != l.stored {
				t.Errorf("%d are found, %v are said to be stored", found, l.stored)
			}
			log := s.logs.String()
			fails, works := strings.Count(log, "the sink fails"), strings.Count(log, "the sink works")
			if up := int(l.up); fails == 0 || fails != works+1-up || !c.recovers && works > 0 {
				t.Errorf("sink_up is %v, and the log: %s", l.up, log)
			}
		})
	}
}

// A directory with a bound removes old segments to make room, says so once and counts what it
// removes. The ledger counts what was stored, even if it was removed later.
func TestASinkStaysWithinItsSize(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	cfg := config(t)
	cfg.Sink, cfg.SinkSize = dir, 512<<10
	logs := &logs{}
	c, err := Open(cfg, "v1", logs.logger())
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, cfg, c, logs)
	sent := 0
	eventually(t, "segments are removed", func() bool {
		s.send(t, 40, 2<<10, true)
		sent += 40
		if err := c.recorder.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		return c.recorder.Stats().RemovedBySize.Segments > 2
	})
	s.stop()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var size int64
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && e == nil && !d.IsDir() {
			size += info.Size()
		}
		return err
	})
	if size > cfg.SinkSize || recorded(t, dir) == 0 {
		t.Errorf("it takes %d bytes", size)
	}
	if l := s.ledger(t); l.sum() != float64(sent) || l.pending != 0 || l.dropped["store_failed"] > 0 {
		t.Errorf("%d requests: %+v", sent, l)
	}
	if log := s.logs.String(); strings.Count(log, "TAPEDECK_SINK_SIZE") != 1 {
		t.Errorf("the log: %s", log)
	}
}

// A sink that can't be written to is found at the start, before anything can be lost. The sidecar
// starts all the same.
func TestASinkIsTriedAtTheStart(t *testing.T) {
	s := run(t, config(t), spool.Dir("/dev/null/recordings"))
	eventually(t, "it is known to be down", func() bool { return s.ledger(t).up == 0 })
	eventually(t, "the log says so", func() bool {
		return strings.Contains(s.logs.String(), "not a directory") && strings.Contains(s.logs.String(), "TAPEDECK_SINK")
	})
	s.stop()
	s.capture.Close(t.Context()) // its error is the sink's
}

// If the directory vanishes, its recordings are lost. The sidecar makes it again, and recording
// continues.
func TestARemovedSinkIsNotInTheWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "recordings")
	s := run(t, config(t), spool.Dir(dir))
	s.send(t, requests, 100, true)
	eventually(t, "all is captured", func() bool { return s.ledger(t).pending == requests })
	if err := s.capture.recorder.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	sent := requests
	eventually(t, "the loss is noticed, and the directory made again", func() bool {
		s.send(t, 4, 100, true)
		sent += 4
		l := s.ledger(t)
		return l.dropped["store_failed"] >= requests && l.up == 1
	})
	if log := s.logs.String(); !strings.Contains(log, "the sink fails") || !strings.Contains(log, "the sink works again") {
		t.Errorf("the log: %s", log)
	}
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Error(err)
	}
	l := s.ledger(t)
	if l.sum() != float64(sent) || len(l.dropped) != 1 {
		t.Errorf("%d requests: %+v", sent, l)
	}
	if found := recorded(t, dir); float64(found) != l.stored {
		t.Errorf("%d are found, %v are said to be stored", found, l.stored)
	}
}

// stuck is a store that never returns, such as a network file system that is gone.
type stuck struct{ free chan struct{} }

func (s stuck) Try() error { return nil }

func (s stuck) Create(string) (spool.File, error) {
	<-s.free
	return nil, errors.New("gone")
}

func TestAStuckSinkIsNotInTheWay(t *testing.T) {
	cfg := config(t)
	cfg.Memory = 32 << 20 // of which the queue has an eighth
	store := stuck{make(chan struct{})}
	s := run(t, cfg, store)
	s.send(t, requests, 8<<10, true)
	s.stop()
	l := s.ledger(t)
	if l.sum() != requests || l.stored != 0 || l.pending == 0 || l.dropped["queue_full"] == 0 || len(l.dropped) != 1 {
		t.Errorf("%d requests: %+v", requests, l)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.capture.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	close(store.free)
	eventually(t, "what waited is dropped", func() bool { return s.ledger(t).dropped["store_failed"] == l.pending })
}

// bug makes decoders panic, from inside, over every third exchange.
type bug struct{ recording.Sink }

func (b bug) Write(e *recording.Exchange) error {
	if len(e.Location)%3 == 0 { // /10 to /99
		panic("a decoder's bug")
	}
	return b.Sink.Write(e)
}

// runWithBug starts a sidecar that records into dir, with decoders that panic.
func runWithBug(t *testing.T, dir string) *sidecar {
	t.Helper()
	cfg := config(t)
	logs := &logs{}
	c := into(t, spool.Dir(dir), cfg, logs)
	c.decoders = decode.New(decode.Config{Limits: framework.Limits{}}, bug{c.recorder})
	return serve(t, cfg, c, logs)
}

func TestACrashedDecoderIsNotInTheWay(t *testing.T) {
	dir := t.TempDir()
	s := runWithBug(t, dir)
	s.send(t, requests, 100, false) // so that a crash costs one request
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Error(err)
	}
	l := s.ledger(t)
	if l.sum() != requests || l.dropped[tap.ReasonPanic] != 90 || len(l.dropped) != 1 || recorded(t, dir) != requests-90 {
		t.Errorf("%d requests: %+v", requests, l)
	}
	if n := strings.Count(s.logs.String(), "a decoder crashed: the connection continues unrecorded"); n != 90 {
		t.Errorf("%d crashes are logged", n)
	}
	if tapped := s.Tap(); tapped.Delivered+tapped.Dropped[tap.ReasonPanic].Bytes != tapped.Written {
		t.Errorf("%+v", tapped)
	}
}

// Later bytes on the connection of a crashed decoder pass, too. How many exchanges they hold is
// unknown, so the sidecar counts each byte.
func TestWhatFollowsACrashIsCountedInBytes(t *testing.T) {
	dir := t.TempDir()
	s := runWithBug(t, dir)
	conn, err := net.Dial("tcp", s.InAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var heard bytes.Buffer
	answers := bufio.NewReader(io.TeeReader(conn, &heard))
	ask := func(path string) (asked, answered int) {
		t.Helper()
		request := "POST " + path + " HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello"
		io.WriteString(conn, request)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != "hello" || err != nil {
			t.Errorf("%s: %q, %v", path, body, err)
		}
		defer heard.Reset()
		return len(request), heard.Len()
	}
	ask("/fine")
	_, lost := ask("/12") // at the end of its answer
	eventually(t, "the decoder has crashed", func() bool { return s.ledger(t).dropped[tap.ReasonPanic] == 1 })
	for range 3 {
		asked, answered := ask("/fine")
		lost += asked + answered
	}
	conn.Close()
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := s.Tap().Dropped[tap.ReasonPanic].Bytes; got != int64(lost) {
		t.Errorf("%d bytes are counted, want %d", got, lost)
	}
	if n := recorded(t, dir); n != 1 {
		t.Errorf("%d exchanges are recorded", n)
	}
}

// If there is no memory to hold bytes, they are dropped before it is known how many exchanges they
// hold. So each byte is counted.
func TestExhaustedMemoryIsNotInTheWay(t *testing.T) {
	for _, memory := range []int64{0, 64 << 10, 1 << 20} {
		cfg := config(t)
		cfg.Memory = memory
		s := run(t, cfg, spool.Dir(t.TempDir()))
		s.send(t, 40, 256<<10, true)
		s.stop()
		if err := s.capture.Close(t.Context()); err != nil {
			t.Error(err)
		}
		tapped := s.Tap()
		lost := tapped.Dropped[tap.ReasonFull].Bytes
		if tapped.Delivered+lost != tapped.Written || tapped.Written < 2*40*256<<10 || lost == 0 && memory < 1<<20 || memory == 0 && tapped.Delivered > 0 {
			t.Errorf("memory %d: %+v", memory, tapped)
		}
		if l := s.ledger(t); l.sum() != l.handed || l.pending != 0 {
			t.Errorf("memory %d: %+v", memory, l)
		}
	}
}
