package proxy

import (
	"bytes"
	"context"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/tapedeck/tapedeck/proxy/ca"
)

const (
	// caRecheck is how often the CA's validity and its directory are checked.
	caRecheck = 5 * time.Minute
	// caNotice is how long before the CA expires the first warning is logged. For a
	// short-lived CA, it is a third of the CA's lifetime.
	caNotice = 30 * 24 * time.Hour
	// caReminder is how often the warning is repeated.
	caReminder = 24 * time.Hour
)

// caRemedy says how to replace a CA.
const caRemedy = "make a new CA with `tapedeck ca`, unless cert-manager has renewed it, and restart the pods: a running sidecar keeps the CA that it started with"

// caState is the state of the CA's validity, as the log reports it.
type caState int

const (
	caGood caState = iota
	caEarly
	caEnding
	caExpired
)

// caWatch watches the CA's files and validity, and logs changes for the operator. It does
// not load another CA, because running applications trust the bundle that they loaded. The
// interceptor checks the CA's validity for each connection.
type caWatch struct {
	log *slog.Logger
	ca  *ca.Authority // nil: the sidecar started without a CA
	dir string

	state   caState
	said    time.Time // when the state was last logged
	current []byte    // the last certificate found in the directory
}

func newCAWatch(log *slog.Logger, authority *ca.Authority, dir string) *caWatch {
	w := &caWatch{log: log, ca: authority, dir: dir}
	if authority != nil {
		w.current = authority.Certificate().Raw
	} else {
		w.current = w.mounted()
	}
	return w
}

// run checks the CA regularly until ctx ends.
func (w *caWatch) run(ctx context.Context) {
	ticker := time.NewTicker(caRecheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			w.look(now)
		}
	}
}

// look logs what has changed since the last call.
func (w *caWatch) look(now time.Time) {
	if found := w.mounted(); found != nil && !bytes.Equal(found, w.current) {
		w.current = found
		if w.ca == nil || !bytes.Equal(found, w.ca.Certificate().Raw) {
			w.log.Warn("the CA in the directory has changed: restart the pod to use it, because the running application trusts only the bundle that it has loaded",
				"directory", w.dir)
		}
	}
	if w.ca == nil {
		return
	}
	from, until := w.ca.Validity()
	state := caGood
	switch {
	case now.Before(from):
		state = caEarly
	case !now.Before(until):
		state = caExpired
	case until.Sub(now) <= min(caNotice, until.Sub(from)/3):
		state = caEnding
	}
	if state == w.state && (state != caEnding || now.Sub(w.said) < caReminder) {
		return
	}
	switch state {
	case caGood:
		w.log.Info("the CA has become valid: outbound TLS is intercepted from now on")
	case caEarly:
		w.log.Warn("the CA is not valid yet: until it is, outbound TLS passes untouched and records have no plaintext",
			"valid_from", from, "remedy", "check the pod's clock, or wait")
	case caEnding:
		w.log.Warn("the CA expires soon: from then on, outbound TLS passes untouched and records have no plaintext",
			"expires", until, "remedy", caRemedy)
	case caExpired:
		w.log.Error("the CA has expired: outbound TLS passes untouched and records have no plaintext",
			"expired", until, "remedy", caRemedy)
	}
	w.state, w.said = state, now
}

// mounted returns the certificate in the directory; nil if there is none.
func (w *caWatch) mounted() []byte {
	text, err := os.ReadFile(filepath.Join(w.dir, "tls.crt"))
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	return block.Bytes
}
