package proxy

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// notebook keeps the latest notes on TLS that was not intercepted.
type notebook struct {
	mu   sync.Mutex
	last []status.Note // oldest first
}

// add adds a note and sets its time.
func (b *notebook) add(n status.Note) {
	n.Time, n.Host, n.Error = time.Now(), status.Text(n.Host), status.Text(n.Error)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.last) == status.MaxNotes {
		b.last = slices.Delete(b.last, 0, 1)
	}
	b.last = append(b.last, n)
}

func (b *notebook) all() []status.Note {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.last)
}

// looksIntoTLS reports whether the TLS of a direction is intercepted.
func (p *Proxy) looksIntoTLS(d tap.Direction) bool {
	if d == tap.Out {
		return p.out != nil
	}
	return p.cfg.TLSIn != nil
}

// status serves /status, which says in words what the metrics can't.
func (p *Proxy) status(w http.ResponseWriter, _ *http.Request) {
	s := status.Status{Time: time.Now(), Started: p.started, Draining: p.draining.Load(), Notes: p.notes.all(), TLS: p.tlsStatus()}
	if p.cfg.Reverse {
		s.Inbound = &status.Half{Failed: p.conns.failed(tap.In)}
		for _, r := range p.reverse {
			s.Inbound.Ports = append(s.Inbound.Ports, status.Port{Port: listensOn(r.listeners), App: hostPort(r.App.Host, r.App.Port)})
		}
	}
	if p.cfg.Forward {
		s.Outbound = &status.Half{Failed: p.conns.failed(tap.Out), Ports: []status.Port{{Port: listensOn(p.forward)}}}
	}
	for _, half := range []*status.Half{s.Inbound, s.Outbound} {
		if half != nil {
			half.Ports = half.Ports[:min(len(half.Ports), status.MaxPorts)]
		}
	}
	if p.cfg.Describe != nil {
		p.cfg.Describe(&s)
	}
	writeJSON(w, s)
}

// tlsStatus returns the status of outbound interception; nil if it is turned off.
func (p *Proxy) tlsStatus() *status.TLS {
	if !p.cfg.TLSOut || !p.cfg.Forward {
		return nil
	}
	s := &status.TLS{CA: status.CAGood, Directory: p.cfg.CADir, Trust: p.cfg.TrustDir}
	err := p.caError
	if err == nil {
		err = p.ca.Check(time.Now())
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.CA = status.CAMissing
	case err != nil:
		s.CA, s.Error = status.CAInvalid, status.Text(err.Error())
	}
	if text := p.trustError.Load(); text != nil {
		s.TrustError = *text
	}
	return s
}

func listensOn(listeners []net.Listener) int {
	if len(listeners) == 0 {
		return 0
	}
	return listeners[0].Addr().(*net.TCPAddr).Port
}
