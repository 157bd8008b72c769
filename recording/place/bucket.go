package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// driver makes calls to one vendor's store. Keys include the place's path. The methods retry where
// that makes sense.
type driver interface {
	// put stores the body under an unused key.
	put(ctx context.Context, key string, body io.ReadSeeker, size int64) error
	// get returns the object from the offset on, and an identifier of its version. If version is
	// not empty, it returns only that version. It fails if the store ignores the offset.
	get(ctx context.Context, key string, offset int64, version string) (io.ReadCloser, string, error)
	// pages returns keys and folders below the prefix, a page at a time. Without a
	// delimiter there are no folders. An error ends the sequence.
	pages(ctx context.Context, prefix, delimiter string) iter.Seq2[page, error]
	delete(ctx context.Context, key string) error
	// diagnose returns the meaning of an operation's error.
	diagnose(op string, err error) diagnosis
}

// Attempts of a request, and the delay between them, which grows each time. AWS's library uses its
// own configuration.
const (
	maxTries    = 4
	firstWait   = 200 * time.Millisecond
	longestWait = 10 * time.Second
)

// retried retries an operation until it succeeds, or its error is a [backoff.PermanentError].
func retried[T any](ctx context.Context, do func() (T, error)) (T, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstWait, longestWait
	return backoff.Retry(ctx, do, backoff.WithBackOff(wait), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(0))
}

// page is one page of a listing.
type page struct {
	objects []store.Object // keys include the place's path
	folders []string
	next    string // token of the next page; "" if there is none
}

// bucket is a [store.Store] on a driver.
type bucket struct {
	place  contract.Place
	driver driver

	// trusted reports whether the store is known to support put-if-absent. Otherwise the first
	// Put tests it.
	trust   sync.Mutex
	trusted bool
	broken  bool
}

// newBucket returns a store. Only S3 is not trusted, because some of its many
// implementations ignore If-None-Match.
func newBucket(p contract.Place, d driver) *bucket {
	s, foreign := d.(*s3Driver)
	return &bucket{place: p, driver: d, trusted: !foreign || !s.foreign}
}

// key returns the key with the place's path.
func (b *bucket) key(key string) (string, error) {
	if err := store.CheckKey(key); err != nil {
		return "", err
	}
	whole := b.prefix(key)
	return whole, store.CheckKey(whole) // the path may make it too long
}

func (b *bucket) prefix(key string) string {
	if b.place.Path == "" {
		return key
	}
	return b.place.Path + "/" + key
}

// Put implements [store.Store].
func (b *bucket) Put(ctx context.Context, key string, body io.ReadSeeker) error {
	whole, err := b.key(key)
	if err != nil {
		return err
	}
	size, err := store.Size(body)
	if err != nil {
		return b.failed(ctx, "put", key, err)
	}
	return b.failed(ctx, "put", key, b.put(ctx, whole, body, size))
}

func (b *bucket) put(ctx context.Context, whole string, body io.ReadSeeker, size int64) error {
	b.trust.Lock()
	trusted, broken := b.trusted, b.broken
	b.trust.Unlock()
	if broken {
		return errOverwrites
	}
	err := putBody(ctx, b.driver, whole, body, size)
	if trusted || err != nil && !b.isInUse(err) {
		return err
	}

	b.trust.Lock()
	defer b.trust.Unlock()
	if err != nil || b.trusted {
		b.trusted = true
		return err
	}
	// The key is in use now. A store that accepts the same bytes again would also accept others.
	again := putBody(ctx, b.driver, whole, body, size)
	if again == nil {
		b.broken = true
		return errOverwrites
	}
	b.trusted = b.isInUse(again) // after any other error, the next Put tests again
	return nil
}

func (b *bucket) isInUse(err error) bool { return b.driver.diagnose("put", err).problem == inUse }

// errOverwrites is the error for a store that accepts a key twice.
var errOverwrites = errors.New("the store overwrites objects despite If-None-Match, so two writers could destroy each other's recordings: use a store that honours conditional writes, such as versitygw without --nometa, or Google's under gs://")

// putBody lends the body to the driver until the call returns, because HTTP clients may read a body
// even after they have returned an answer. It doesn't retry if the body can't be read.
func putBody(ctx context.Context, d driver, key string, body io.ReadSeeker, size int64) error {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("seek in the body: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lent := &loan{body: body, failed: cancel}
	err := d.put(ctx, key, lent, size)
	if failed := lent.end(); err != nil && failed != nil {
		return fmt.Errorf("read the body: %w", failed)
	}
	return err
}

// loan is a body that can be taken back.
type loan struct {
	mu     sync.Mutex
	body   io.ReadSeeker
	failed func(error)
	err    error
	ended  bool
}

var errEnded = errors.New("the call that used this body has ended")

func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errEnded
	}
	n, err := l.body.Read(p)
	if err != nil && err != io.EOF && l.err == nil {
		l.err = err
		l.failed(err)
	}
	return n, err
}

func (l *loan) Seek(offset int64, whence int) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return 0, errEnded
	}
	return l.body.Seek(offset, whence)
}

// end takes the body back, and returns the body's read error, if any.
func (l *loan) end() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	return l.err
}

// Get implements [store.Store]. It resumes a read whose connection broke.
func (b *bucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	whole, err := b.key(key)
	if err != nil {
		return nil, err
	}
	body, version, err := b.driver.get(ctx, whole, 0, "")
	if err != nil {
		return nil, b.failed(ctx, "get", key, err)
	}
	return &reader{ctx: ctx, b: b, key: key, body: body, version: version}, nil
}

type reader struct {
	ctx      context.Context
	b        *bucket
	key      string
	body     io.ReadCloser
	version  string
	at       int64
	failures int
}

// maxResumes is how many times a read is resumed without receiving a byte.
const maxResumes = 3

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.at += int64(n)
		if n > 0 {
			r.failures = 0
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if r.failures++; r.failures > maxResumes || r.version == "" || r.ctx.Err() != nil {
			return n, r.b.failed(r.ctx, "get", r.key, err)
		}
		body, _, err := r.b.driver.get(r.ctx, r.b.prefix(r.key), r.at, r.version)
		if err != nil {
			return n, r.b.failed(r.ctx, "get", r.key, err)
		}
		r.body.Close()
		r.body = body
		if n > 0 {
			return n, nil
		}
	}
}

func (r *reader) Close() error { return r.body.Close() }

// List implements [store.Store].
func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	return func(yield func(store.Object, error) bool) {
		last := ""
		for p, err := range b.pages(ctx, prefix, "") {
			for _, o := range p.objects {
				o.Key = b.below(o.Key)
				// Vendors' consoles create objects that are named like folders.
				if isHidden(o.Key) || strings.HasSuffix(o.Key, "/") {
					continue
				}
				if o.Key <= last {
					yield(store.Object{}, b.failed(ctx, "list", prefix, unordered(last, o.Key)))
					return
				}
				last = o.Key
				if !yield(o, nil) {
					return
				}
			}
			if err != nil && !yield(store.Object{}, err) {
				return
			}
		}
	}
}

// Folders implements [store.Store].
func (b *bucket) Folders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		last := ""
		for p, err := range b.pages(ctx, prefix, "/") {
			for _, f := range p.folders {
				if f = b.below(f); isHidden(f) || f == "/" {
					continue
				}
				if f <= last {
					yield("", b.failed(ctx, "list", prefix, unordered(last, f)))
					return
				}
				last = f
				if !yield(f, nil) {
					return
				}
			}
			if err != nil && !yield("", err) {
				return
			}
		}
	}
}

// unordered is the error for a listing in a different order. Readers merge listings, so they need
// byte order.
func unordered(before, after string) error {
	return fmt.Errorf("the store lists %q after %q, which is not byte order; S3's directory buckets and Azure's hierarchical namespaces do this: use a general purpose bucket, or an account without a hierarchical namespace", after, before)
}

// pages returns the driver's pages, with errors that name the place.
func (b *bucket) pages(ctx context.Context, prefix, delimiter string) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		if err := store.CheckPrefix(prefix); err != nil {
			yield(page{}, err)
			return
		}
		for p, err := range b.driver.pages(ctx, b.prefix(prefix), delimiter) {
			if !yield(p, b.failed(ctx, "list", prefix, err)) {
				return
			}
		}
	}
}

// paged requests page after page until the last one or an error.
func paged(list func(token string) (page, error)) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		for token := ""; ; {
			p, err := list(token)
			if err == nil && p.next != "" && p.next == token {
				err = errors.New("the store keeps returning the same page")
			}
			if err != nil {
				yield(page{}, err)
				return
			}
			if !yield(p, nil) || p.next == "" {
				return
			}
			token = p.next
		}
	}
}

// below returns a key without the place's path.
func (b *bucket) below(key string) string { return strings.TrimPrefix(key, b.prefix("")) }

var errNoRange = errors.New("the store ignores the range of a request")

// isHidden reports whether a path element of the key begins with a dot.
func isHidden(key string) bool {
	return key == "" || key[0] == '.' || strings.Contains(key, "/.")
}

// Delete implements [store.Store].
func (b *bucket) Delete(ctx context.Context, key string) error {
	whole, err := b.key(key)
	if err != nil {
		return err
	}
	err = b.driver.delete(ctx, whole)
	if err != nil && b.driver.diagnose("delete", err).problem == absent {
		return nil
	}
	return b.failed(ctx, "delete", key, err)
}
