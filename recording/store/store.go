// Package store keeps bytes under keys, as a directory or a bucket does. Segments of
// recordings and snapshots are such objects.
//
//	Store ◀── Dir            a directory, here
//	      ◀── place.Open     S3, Google Cloud Storage, Azure: cloud SDKs
//
// It promises, for every store, which [storetest] checks:
//
//   - An object is whole or absent. No reader sees half of one.
//   - A key is written once. If several writers in any processes write the same key, one wins and
//     the others get an error. Nothing is overwritten.
//   - Keys are listed in the order of their bytes, page by page.
//
// The package imports only the standard library and contract, so that the sidecar can use it.
//
// [storetest]: https://pkg.go.dev/github.com/tapedeck/tapedeck/recording/store/storetest
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// Store keeps objects by key. For keys that [CheckKey] rejects, the methods return its error. The
// methods are safe for concurrent use.
//
// Errors name the place and the key, and wrap [fs.ErrExist], [fs.ErrNotExist] and
// [fs.ErrPermission] where one applies.
type Store interface {
	// Put stores the body, from its start to its end, under a key that is not in use.
	// If the key is in use, the error wraps [fs.ErrExist]. That can also happen if the connection
	// broke after a first attempt had succeeded; [PutOnce] handles that. The object is durable
	// once Put returns nil. Put may read the body several times.
	Put(ctx context.Context, key string, body io.ReadSeeker) error
	// Get returns the object. If there is none, the error wraps [fs.ErrNotExist].
	// The context must stay valid until the reader is closed.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	// List returns the objects whose keys begin with the prefix, in the order of the
	// keys' bytes. It asks the store for one page at a time. After an error the caller may
	// continue, and gets the remaining objects, if any. The list may have keys of other programs
	// that CheckKey rejects, but no hidden files.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Folders returns the folders directly below the prefix, in order: the beginnings of keys up
	// to the next slash, each once. With the keys a/b, x/y/1 and x/z/2, the prefix "" gives a/ and
	// x/, and x/ gives x/y/ and x/z/. The cost depends on the number of folders, not of objects.
	Folders(ctx context.Context, prefix string) iter.Seq2[string, error]
	// Delete removes the object. It returns nil if there is none.
	Delete(ctx context.Context, key string) error
}

// Object describes what is stored under a key.
type Object struct {
	// Key is relative to the store's place.
	Key string
	// Size is in bytes.
	Size int64
	// Modified is when the object was stored, by the store's clock.
	Modified time.Time
}

// MaxBytes is the largest size of an object: what Azure accepts in one request.
const MaxBytes = 5000 << 20

// CheckKey rejects keys that some store can't keep unchanged:
// [contract.CheckObjectKey] has the rules.
func CheckKey(key string) error { return contract.CheckObjectKey(key) }

// CheckPrefix rejects prefixes that no valid key can begin with.
func CheckPrefix(prefix string) error {
	if prefix == "" || CheckKey(prefix) == nil {
		return nil
	}
	if err := CheckKey(prefix + "x"); err != nil {
		return fmt.Errorf("no key can begin with this prefix: %w", err)
	}
	return nil
}

// Size returns the length of a body, and rewinds it. It rejects bodies larger than [MaxBytes].
func Size(body io.Seeker) (int64, error) {
	n, err := body.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, fmt.Errorf("seek in the body: %w", err)
	}
	if n > MaxBytes {
		return 0, fmt.Errorf("the body has %d bytes; at most %d are allowed", n, int64(MaxBytes))
	}
	return n, nil
}

// ErrFull means that the store is full. An error of Put wraps it.
var ErrFull = errors.New("the store is full")

// ErrOtherBytes means that the key is in use with other bytes. Errors of [PutNew] and [PutOnce]
// wrap it.
var ErrOtherBytes = errors.New("with other bytes")

// PutOnce stores the body under the key. It also succeeds if the key already has exactly these
// bytes, because the answer to an earlier attempt, perhaps by another process, was lost. If
// the key has other bytes, the error wraps [fs.ErrExist] and [ErrOtherBytes].
//
// A writer that chooses the key before its first attempt, and repeats PutOnce until it
// returns nil, stores its object exactly once. It needs the right to read the key.
func PutOnce(ctx context.Context, s Store, key string, body io.ReadSeeker) error {
	_, err := PutNew(ctx, s, key, body)
	return err
}

// PutNew is [PutOnce], but also reports whether it stored the body. false means that the body was
// already there.
func PutNew(ctx context.Context, s Store, key string, body io.ReadSeeker) (bool, error) {
	err := s.Put(ctx, key, body)
	if !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	same, compared := equal(ctx, s, key, body)
	if compared != nil {
		return false, fmt.Errorf("%w; can't compare its bytes: %w", err, compared)
	}
	if !same {
		return false, fmt.Errorf("%w, %w", err, ErrOtherBytes)
	}
	return false, nil
}

// equal reports whether the key has the bytes of the body.
func equal(ctx context.Context, s Store, key string, body io.ReadSeeker) (bool, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return false, fmt.Errorf("seek in the body: %w", err)
	}
	stored, err := s.Get(ctx, key)
	if err != nil {
		return false, err
	}
	defer stored.Close()
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, aErr := io.ReadFull(stored, a)
		m, bErr := io.ReadFull(body, b)
		for _, err := range []error{aErr, bErr} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, err
			}
		}
		if !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if aErr != nil || bErr != nil {
			return aErr != nil && bErr != nil, nil
		}
	}
}
