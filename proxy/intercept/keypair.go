package intercept

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// recheck is how often a certificate's files are checked for changes.
const recheck = 10 * time.Second

// KeyPair returns a function that returns the certificate in two PEM files, and reads them again
// when they have changed. If the changed files can't be read, the old certificate remains in use,
// because the files may be replaced one after the other. If the files can't be read at first,
// KeyPair also returns an error, and the function tries again later.
func KeyPair(cert, key string) (get func() (*tls.Certificate, error), err error) {
	k := &keyPair{cert: cert, key: key}
	return k.get, k.load(time.Now())
}

type keyPair struct {
	cert, key string

	mu      sync.Mutex
	pair    *tls.Certificate // nil until the files could be read
	err     error            // the last error
	stamp   [2]time.Time
	checked time.Time
}

func (k *keyPair) get() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.checked) > recheck {
		_ = k.load(now)
	}
	if k.pair == nil {
		return nil, k.err
	}
	return k.pair, nil
}

func (k *keyPair) load(now time.Time) (err error) {
	defer func() { k.checked, k.err = now, err }()
	var stamp [2]time.Time
	for i, file := range []string{k.cert, k.key} {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		stamp[i] = info.ModTime()
	}
	if k.pair != nil && stamp == k.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return fmt.Errorf("load certificate %s and key %s: %w", k.cert, k.key, err)
	}
	k.pair, k.stamp = &pair, stamp
	return nil
}
