package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Outbound TLS is intercepted while the CA is valid, and passes untouched before and afterwards.
// The clock is virtual.
func TestACAIsUsedWhileItIsValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait, life = 2 * time.Hour, 24 * time.Hour
		cert, key, err := ca.Generate("ours", time.Now().Add(wait), life)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := ca.New(pair)
		if err != nil {
			t.Fatal(err)
		}
		cert, key, err = ca.Generate("theirs", time.Now(), 10*life)
		if err != nil {
			t.Fatal(err)
		}
		if pair, err = tls.X509KeyPair(cert, key); err != nil {
			t.Fatal(err)
		}
		theirs, err := ca.New(pair)
		if err != nil {
			t.Fatal(err)
		}
		both, upstreams := x509.NewCertPool(), x509.NewCertPool()
		both.AddCert(ours.Certificate())
		both.AddCert(theirs.Certificate())
		upstreams.AddCert(theirs.Certificate())
		i := New(Config{Authority: ours, Roots: func() *x509.CertPool { return upstreams }})

		// visit connects a client that trusts both, and returns the issuer of the certificate that
		// it got.
		visit := func() (issuer string, r Result) {
			near, client := net.Pipe()
			server, far := net.Pipe()
			leaf, err := theirs.Leaf("example.test")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer far.Close()
				s := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{*leaf}})
				line, _ := bufio.NewReader(s).ReadString('\n')
				io.WriteString(s, line)
			}()
			done := make(chan struct{})
			go func() {
				defer close(done)
				r = i.Do(context.Background(), pump.NewConn(near, nil), pump.NewConn(server, nil), "example.test", 443, nil)
				if r.Client != nil {
					go io.Copy(r.Server, r.Client)
					io.Copy(r.Client, r.Server)
					r.Client.Close()
					r.Server.Close()
				}
			}()
			c := tls.Client(client, &tls.Config{ServerName: "example.test", RootCAs: both})
			fmt.Fprintln(c, "hello")
			if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
				t.Errorf("%q, %v", line, err)
			}
			client.Close()
			<-done
			return c.ConnectionState().PeerCertificates[0].Issuer.CommonName, r
		}
		for _, step := range []struct {
			at     time.Duration // from when the CA is valid
			issuer string
			want   Outcome
		}{
			{-time.Hour, "theirs", PassedNoCA},
			{0, "ours", Intercepted},
			{life - time.Second, "ours", Intercepted},
			{life + 2*time.Second, "theirs", PassedNoCA},
			{2 * life, "theirs", PassedNoCA},
		} {
			time.Sleep(time.Until(ours.Certificate().NotAfter.Add(step.at - life))) // in the bubble, which takes no time
			if issuer, r := visit(); issuer != step.issuer || r.Outcome != step.want {
				t.Errorf("%v: %s by %s (%v), want %s by %s", step.at, r.Outcome, issuer, r.Err, step.want, step.issuer)
			}
			synctest.Wait()
		}
	})
}
