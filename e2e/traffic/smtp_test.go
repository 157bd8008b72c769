package traffic

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/recording"
)

// smtp starts a mail server that supports STARTTLS, and returns its address and its output: the
// mail that it gets.
func smtp(t *testing.T, a *authority) (address string, mail *logbuffer.Buffer) {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's, which has Debian's modules
	if err := exec.Command(python, "-c", "import aiosmtpd").Run(); err != nil {
		t.Skip("aiosmtpd is not here: apt-get install python3-aiosmtpd")
	}
	address = net.JoinHostPort("127.0.0.1", freePort(t))
	cert, key := a.files()
	cmd := exec.Command(python, "-u", "-m", "aiosmtpd", "--nosetuid", "--listen", address, "--tlscert", cert, "--tlskey", key, "--no-requiretls",
		"-c", "aiosmtpd.handlers.Debugging", "stdout")
	mail = background(t, "aiosmtpd", cmd)
	listens(t, "aiosmtpd", address)
	return address, mail
}

// A mail server speaks first, and may begin TLS later, which the sidecar doesn't intercept. The
// connection is recorded as bytes.
func TestSMTP(t *testing.T) {
	curl := program(t, "curl", "curl")
	a := newAuthority(t)
	server, mail := smtp(t, a)
	for _, way := range []struct{ direction, via, args string }{
		{recording.In, "tcp", ""},
		{recording.Out, "socks5", "-x socks5h://" + outTee},
		{recording.Out, "connect", "--proxytunnel -x http://" + outTee},
	} {
		for name, options := range map[string]string{"plain": "", "STARTTLS": "--ssl-reqd --cacert " + a.file} {
			t.Run("via "+way.via+"/"+name, func(t *testing.T) {
				s := start(t, server, append(a.intercepting(), contract.EnvOpaqueBytes+"=true")...)
				target := s.reverse()
				if way.direction == recording.Out {
					target = s.to(server)
				}
				_, port, _ := net.SplitHostPort(target)
				subject := "Mail of " + t.Name()
				args := strings.Fields("-sS -m 20 --mail-from shop@shop.test --mail-rcpt you@" + serverName + " -T - " + way.args + " " + options)
				cmd := exec.CommandContext(t.Context(), curl, append(args, "--connect-to", "::"+target, "smtp://"+serverName+":"+port+"/shop.test")...)
				cmd.Stdin = strings.NewReader("Subject: " + subject + "\r\n\r\nYour order is on its way.\r\n")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
				eventually(t, "the mail is there", func() bool { return strings.Contains(mail.String(), subject) })
				recorded := conversations(t, s.stop(), ofTCP)
				if len(recorded) != 1 {
					t.Fatalf("%d conversations are recorded", len(recorded))
				}
				r, wire := recorded[0], s.behind(way.direction).conns[0]
				if r.Direction != way.direction || r.Tags.Get(recording.TagVia) != way.via || r.L7Protocol != recording.TCP || r.IsTLS ||
					r.messages[0].From != recording.Server || !strings.HasPrefix(string(r.messages[0].Data), "220 ") ||
					r.said(recording.Client) != wire.client.String() || r.said(recording.Server) != wire.server.String() {
					t.Errorf("%s via %s: %s, %+v", r.Direction, r.Tags.Get(recording.TagVia), r.L7Protocol, r.messages)
				}
				if plain := strings.Contains(r.said(recording.Client), subject); plain != (options == "") {
					t.Errorf("the mail can be read: %v", plain)
				}
			})
		}
	}
}
