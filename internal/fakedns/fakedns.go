// Package fakedns is a DNS server for tests, which resolves names to addresses.
//
//	net.Dial("tcp", "postgres.db:5432") ─▶ net.DefaultResolver ─▶ here ─▶ 127.0.0.1
//
// A program that imports the package has one default resolver from its start to its end, and a test
// changes whom that resolver asks. A test must not replace the resolver itself: goroutines
// of the code under test may be reading it, such as dials of an http.Transport, which outlive
// the request that they were made for.
//
// The package imports x/net's dnsmessage and the standard library.
package fakedns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Dial connects to the server of names at the address, as a net.Resolver's Dial does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// resolver is what net's default resolver asks.
var resolver = struct {
	sync.RWMutex
	dial Dial
}{dial: new(net.Dialer).DialContext}

func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		resolver.RLock()
		defer resolver.RUnlock()
		return resolver.dial(ctx, network, address)
	}}
}

// Replace makes net's default resolver use dial. The function that it returns undoes this. After
// that, no call of dial is running.
func Replace(dial Dial) (undo func()) {
	resolver.Lock()
	defer resolver.Unlock()
	before := resolver.dial
	resolver.dial = dial
	return func() { Replace(before) }
}

// Use makes net's default resolver resolve the names to IPv4 addresses until the test ends. The names
// are in lower case and have no final dot. Only they and those of the hosts file exist. Tests that use it
// can't run in parallel.
func Use(t testing.TB, names map[string]string) {
	table := map[string][]string{}
	for name, addr := range names {
		table[name] = []string{addr}
	}
	UseInTurn(t, table)
}

// UseInTurn is like Use for names whose address changes, and for IPv6. Each look-up of a name
// returns the next of its addresses; the last one stays.
func UseInTurn(t testing.TB, names map[string][]string) {
	z := &zone{names: map[string][]netip.Addr{}}
	for name, addrs := range names {
		for _, addr := range addrs {
			z.names[name] = append(z.names[name], netip.MustParseAddr(addr))
		}
	}
	var serving sync.WaitGroup
	undo := Replace(func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // a stream, so messages have lengths as over TCP
		serving.Go(func() {
			defer server.Close()
			z.serve(server)
		})
		return client, nil
	})
	t.Cleanup(func() {
		undo()
		serving.Wait()
	})
}

// zone has the names, with the addresses that they have still to return.
type zone struct {
	mu    sync.Mutex
	names map[string][]netip.Addr
}

func (z *zone) serve(c net.Conn) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		answer, err := z.answer(question)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func (z *zone) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		addr, known := z.next(strings.ToLower(strings.TrimSuffix(q.Name.String(), ".")), q.Type)
		if !known {
			m.RCode = dnsmessage.RCodeNameError
		}
		if !addr.IsValid() {
			continue
		}
		var body dnsmessage.ResourceBody = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		if addr.Is4() {
			body = &dnsmessage.AResource{A: addr.As4()}
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: body,
		})
	}
	return m.Pack()
}

// next returns a name's next address if it is of the type, and whether the name is known. A question for
// the other type takes none, since a look-up asks for both.
func (z *zone) next(name string, of dnsmessage.Type) (addr netip.Addr, known bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	addrs, known := z.names[name]
	if !known || addrs[0].Is4() != (of == dnsmessage.TypeA) || addrs[0].Is6() != (of == dnsmessage.TypeAAAA) {
		return netip.Addr{}, known
	}
	if len(addrs) > 1 {
		z.names[name] = addrs[1:]
	}
	return addrs[0], true
}
