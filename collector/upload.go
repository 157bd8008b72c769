package collector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/scratch"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// A body must arrive at a minimum speed: its first bytes within bodyGrace, and after that leastRate
// bytes a second on average.
const (
	bodyGrace = 10 * time.Second
	leastRate = 128 << 10
)

// bodyBuffer is the size of one read of a body.
const bodyBuffer = 32 << 10

// maxWaiting is the largest number of uploads that wait for their turn.
const maxWaiting = 1024

// storeWithin bounds how long the store may take for a segment.
const storeWithin = 2 * time.Minute

// answerWithin bounds how long a client may take to read an answer.
const answerWithin = 10 * time.Second

// upload is a request to store a segment.
type upload struct {
	name   string               // the key as it was sent
	key    recording.SegmentKey // set once the token was found to belong to its namespace
	size   int64
	digest [sha256.Size]byte // from the header
	whole  bool              // all of the body was read
}

// namespace returns the upload's namespace for metrics and the log; "" until the token has proved
// it.
func (u *upload) namespace() string { return u.key.Namespace }

// result is the result of an accepted upload.
type result string

const (
	stored    result = "stored"
	present   result = "present"   // an earlier upload stored it
	compacted result = "compacted" // a larger segment has it
)

// ServeHTTP serves the write port.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(contract.HeaderContract, strconv.Itoa(contract.Version))
	var u upload
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // otherwise a refusal would wait for the body in HTTP/1.1
	result, err := c.take(w, r, &u)
	// Limit the time for the rest of the body and for the answer.
	_ = rc.SetReadDeadline(time.Now().Add(answerWithin))
	_ = rc.SetWriteDeadline(time.Now().Add(answerWithin))
	if err != nil {
		refused := asRefused(err)
		c.m.refused(refused.Code, u.namespace())
		c.logRefusal(refused, &u, r.RemoteAddr)
		if !u.whole && r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // the unread rest of the body would be taken for the next request
		}
		refused.answer(w)
		return
	}
	c.m.took(result, u.namespace(), u.size)
	w.Header().Set("Content-Length", "0")
	if result == stored {
		w.WriteHeader(http.StatusCreated)
	}
}

// take stores a segment, or returns why it refuses it.
func (c *Collector) take(w http.ResponseWriter, r *http.Request, u *upload) (result, error) {
	if err := c.admit(r, u); err != nil {
		return "", err
	}
	leave, err := c.enter(r.Context(), u)
	if err != nil {
		return "", err
	}
	defer leave()
	file, err := c.receive(w, r, u)
	if err != nil {
		return "", err
	}
	defer file.Close()
	leaveSlot, err := c.slot(r.Context())
	if err != nil {
		return "", err
	}
	defer leaveSlot()
	if err := c.check(file, u); err != nil {
		return "", err
	}
	// The segment is valid from here on. Store it even if the client is gone, because it would
	// send it again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeWithin)
	defer cancel()
	return c.put(ctx, u, file)
}

// enter waits for room for the upload's temporary file.
func (c *Collector) enter(ctx context.Context, u *upload) (leave func(), err error) {
	defer c.m.waiting.Add(-1)
	switch waiting := c.m.waiting.Add(1); {
	case waiting > maxWaiting:
		return nil, refuse(contract.RefusedBusy, "%d uploads are already waiting; send the segment again later", maxWaiting)
	case c.draining.Load():
		return nil, refuse(contract.RefusedBusy, "the collector is shutting down; send the segment again")
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Wait)
	defer cancel()
	leave, ok := c.room.enter(ctx, u.key.Namespace, u.size)
	if !ok {
		return nil, refuse(contract.RefusedBusy, "the uploads that are being received take all of the memory; send the segment again later")
	}
	return leave, nil
}

// slot waits until the upload may be checked and stored.
func (c *Collector) slot(ctx context.Context) (leave func(), err error) {
	c.m.waiting.Add(1)
	defer c.m.waiting.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, c.o.Wait)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		c.m.storing.Add(1)
		return func() {
			c.m.storing.Add(-1)
			<-c.slots
		}, nil
	case <-ctx.Done():
		return nil, refuse(contract.RefusedBusy, "%d uploads are already being checked and stored; send the segment again later", c.o.Concurrency)
	}
}

// receive writes the body to a temporary file and checks its digest.
func (c *Collector) receive(w http.ResponseWriter, r *http.Request, u *upload) (file *os.File, err error) {
	c.m.receiving.Add(1)
	defer c.m.receiving.Add(-1)
	tmp, err := scratch.Nameless(c.o.TempDir, "an upload")
	if err != nil {
		return nil, tempFailed(err)
	}
	defer func() {
		if err != nil {
			tmp.Close()
		}
	}()
	hash := sha256.New()
	buf := c.buffers.Get().(*[bodyBuffer]byte)
	defer c.buffers.Put(buf)
	rc, began, got := http.NewResponseController(w), time.Now(), int64(0)
	for {
		until, stalled := began.Add(bodyGrace+time.Duration(got)*time.Second/leastRate), time.Now().Add(bodyGrace)
		if stalled.Before(until) {
			until = stalled
		}
		if err := rc.SetReadDeadline(until); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil, refuse(contract.RefusedIncomplete, "the connection broke").because(err)
		}
		n, err := r.Body.Read(buf[:])
		got += int64(n)
		c.m.received.Add(float64(n))
		hash.Write(buf[:n])
		if _, failed := tmp.Write(buf[:n]); failed != nil {
			return nil, tempFailed(failed)
		}
		if err == io.EOF {
			u.whole = true
			break
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, refuse(contract.RefusedIncomplete, "only %d of %d bytes came within %s; want at least %d bytes a second", got, u.size, time.Since(began).Round(time.Second), leastRate)
		}
		if err != nil {
			return nil, refuse(contract.RefusedIncomplete, "the body ended after %d of %d bytes", got, u.size).because(err)
		}
	}
	if got != u.size {
		return nil, refuse(contract.RefusedIncomplete, "the body has %d bytes, but Content-Length is %d", got, u.size)
	}
	sum := [sha256.Size]byte(hash.Sum(nil))
	if sum != u.digest {
		return nil, refuse(contract.RefusedDigest, "the body's SHA-256 differs from that in the header %s", contract.HeaderDigest)
	}
	if digits := hex.EncodeToString(sum[:])[:recording.DigestDigits]; digits != u.key.Digest {
		return nil, refuse(contract.RefusedDigest, "the body's SHA-256 begins with %s, but the key says %s", digits, u.key.Digest)
	}
	return tmp, nil
}

// tempFailed is the refusal when a temporary file can't be written.
func tempFailed(err error) error {
	return refuse(contract.RefusedBusy, "the collector can't write the upload to its temporary directory").because(err)
}

// check checks the content of the segment.
func (c *Collector) check(file *os.File, u *upload) error {
	checker := <-c.checkers // each takes a second at most
	began := time.Now()
	defer func() {
		c.m.checked.Observe(time.Since(began).Seconds())
		c.checkers <- checker
	}()
	return checker.check(io.NewSectionReader(file, 0, u.size), u.key)
}

// put stores the segment, unless it exists.
func (c *Collector) put(ctx context.Context, u *upload, file *os.File) (result, error) {
	if c.o.Compacted != nil && time.Since(u.key.Hour) > time.Hour {
		switch has, err := c.o.Compacted(ctx, u.key); {
		case err != nil:
			return "", storeFailed(err)
		case has:
			return compacted, nil
		}
	}
	began := time.Now()
	isNew, err := store.PutNew(ctx, c.o.Store, u.name, io.NewSectionReader(file, 0, u.size))
	c.m.stored.Observe(time.Since(began).Seconds())
	switch {
	case errors.Is(err, store.ErrOtherBytes):
		return "", refuse(contract.RefusedOtherBytes, "the store already has other bytes under this key").because(err)
	case err != nil:
		return "", storeFailed(err)
	case !isNew:
		return present, nil
	}
	return stored, nil
}

// storeFailed returns the refusal for an error of the store, whose text is only logged.
func storeFailed(err error) error {
	if errors.Is(err, store.ErrFull) || errors.Is(err, syscall.ENOSPC) {
		return refuse(contract.RefusedFull, "the store has no room").because(err)
	}
	return refuse(contract.RefusedStore, "the store failed").because(err)
}
