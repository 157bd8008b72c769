package collector

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// reloadEvery is the shortest interval at which files are read again.
const reloadEvery = 5 * time.Second

// reloaded is a value from files, because mounted Secrets change. It reads the files again when the
// value is requested, at most once per reloadEvery. If that fails, it keeps the old value and logs
// each error once. It is safe for concurrent use.
type reloaded[T any] struct {
	load func() (T, error)
	log  *slog.Logger

	mu     sync.Mutex
	value  T
	next   time.Time
	logged string // the last error; "" if reading worked since
}

func newReloaded[T any](log *slog.Logger, load func() (T, error)) (*reloaded[T], error) {
	value, err := load()
	if err != nil {
		return nil, err
	}
	return &reloaded[T]{load: load, log: log, value: value, next: time.Now().Add(reloadEvery)}, nil
}

func (r *reloaded[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !now.Before(r.next) {
		r.next = now.Add(reloadEvery)
		value, err := r.load()
		switch {
		case err == nil:
			r.value, r.logged = value, ""
		case err.Error() != r.logged:
			r.logged = err.Error()
			r.log.Error("can't reload a file; its last content stays in use", slog.String("error", bounded(err.Error())))
		}
	}
	return r.value
}

// KeyFiles returns the keys in files, for [Options.Keys]. Changes of the files take
// effect within seconds. If a file can't be read any more, the reason is logged.
func KeyFiles(names []string, log *slog.Logger) (func() [][]byte, error) {
	r, err := newReloaded(log, func() (keys [][]byte, err error) {
		for _, name := range names {
			key, err := ReadKey(name)
			if err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
		return keys, nil
	})
	if err != nil {
		return nil, err
	}
	return r.get, nil
}

// ReadKey reads the key of a collector from a file.
func ReadKey(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := contract.ParseCollectorKey(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", name, err)
	}
	return key, nil
}

// Certificate returns the settings of a server whose certificate and key are in files, in PEM.
// Changes of the files take effect within seconds. If one can't be read any more, the reason is
// logged.
func Certificate(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	r, err := newReloaded(log, func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate %s with key %s: %w", certFile, keyFile, err)
		}
		return &pair, nil
	})
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.get(), nil }}, nil
}
