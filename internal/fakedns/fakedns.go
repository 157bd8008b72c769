// Package fakedns is a DNS server for tests, which resolves names to IPv4 addresses.
//
//	net.Dial("tcp", "postgres.db:5432") ─▶ net.DefaultResolver ─▶ here ─▶ 127.0.0.1
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

// Use makes net's default resolver resolve the names to IPv4 addresses until the test ends. The names
// are in lower case and have no final dot. Only they and those of the hosts file exist. Tests that use it
// can't run in parallel.
func Use(t testing.TB, names map[string]string) {
	var serving sync.WaitGroup
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // a stream, so messages have lengths as over TCP
		serving.Go(func() {
			defer server.Close()
			serve(server, names)
		})
		return client, nil
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		serving.Wait()
	})
}

func serve(c net.Conn, names map[string]string) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		answer, err := answer(question, names)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

func answer(question []byte, names map[string]string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	for _, q := range m.Questions {
		addr, known := names[strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))]
		switch {
		case !known:
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			a, err := netip.ParseAddr(addr)
			if err != nil {
				return nil, err
			}
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: a.As4()},
			})
		}
	}
	return m.Pack()
}
