package traffic

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// mariadb starts a MariaDB server and returns its address.
func mariadb(t *testing.T) string {
	t.Helper()
	install, server := program(t, "mariadb-install-db", "mariadb-server"), program(t, "mariadbd", "mariadb-server")
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	// The server runs as the current user; for root, it needs a flag.
	options := []string{"--no-defaults", "--datadir=" + data, "--user=root"}
	if out, err := exec.Command(install, append(options, "--auth-root-authentication-method=normal", "--skip-test-db")...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", install, err, out)
	}
	port := freePort(t)
	cmd := exec.Command(server, append(options, "--bind-address=127.0.0.1", "--port="+port, "--socket="+filepath.Join(dir, "socket"),
		"--pid-file="+filepath.Join(dir, "pid"), "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0")...)
	log := background(t, "MariaDB", cmd)
	eventually(t, "MariaDB is ready", func() bool { return strings.Contains(log.String(), "ready for connections") })
	return net.JoinHostPort("127.0.0.1", port)
}

// freePort returns a port for a server that can't choose one itself.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

// MariaDB's server speaks first. Its own client works with it through both halves, and the
// conversation is recorded as bytes.
func TestMariaDB(t *testing.T) {
	client := program(t, "mariadb", "mariadb-client")
	db := mariadb(t)
	for _, way := range []struct{ direction, via, protocol string }{
		{recording.In, "tcp", "tcp:http"},
		{recording.In, "tcp", "http"}, // in which the client may ask for a tunnel, if it speaks first
		{recording.In, "tcp", "socks"},
		{recording.Out, "socks5", "tcp:socks"},
	} {
		t.Run(way.direction+" with "+way.protocol, func(t *testing.T) {
			s := start(t, db, contract.EnvProxyProtocol+"="+way.protocol, contract.EnvOpaqueBytes+"=true")
			target := s.reverse()
			if way.direction == recording.Out {
				target = throughSOCKS(t, s.to(db)).address()
			}
			host, port, _ := net.SplitHostPort(target)
			const rows = 20_000
			for i, option := range []string{"--skip-compress", "--compress"} {
				cmd := exec.CommandContext(t.Context(), client, "--no-defaults", "--protocol=tcp", "--host="+host, "--port="+port, "--user=root",
					"--batch", "--skip-column-names", option)
				cmd.Stdin = strings.NewReader(fmt.Sprintf(`
create or replace database shop%[1]d; use shop%[1]d;
create table tape (n int primary key, title varchar(100));
insert into tape select seq, repeat('x', seq %% 100) from seq_1_to_%[2]d;
prepare find from 'select title from tape where n = ?'; set @n = 3; execute find using @n;
start transaction; delete from tape where n = 1; rollback;
select count(*), sum(n) from tape;
select n, title from tape order by n;
`, i, rows))
				out, err := cmd.CombinedOutput()
				got := strings.Split(strings.TrimSpace(string(out)), "\n")
				if err != nil || len(got) != rows+2 || got[0] != "xxx" || got[1] != fmt.Sprintf("%d\t%d", rows, rows*(rows+1)/2) || got[len(got)-1] != strconv.Itoa(rows) {
					t.Fatalf("%s: %v, %d lines: %.300s", option, err, len(got), out)
				}
			}
			recorded := conversations(t, s.stop(), ofTCP)
			if len(recorded) != 2 {
				t.Fatalf("%d conversations are recorded", len(recorded))
			}
			wire := s.behind(way.direction)
			for i, r := range recorded {
				passed := wire.conns[i]
				if r.Direction != way.direction || r.Tags.Get(recording.TagVia) != way.via || r.L7Protocol != recording.TCP || r.messages[0].From != recording.Server ||
					r.said(recording.Client) != passed.client.String() || r.said(recording.Server) != passed.server.String() ||
					r.TCP.ClientBytes != int64(passed.client.Len()) || r.TCP.ServerBytes != int64(passed.server.Len()) {
					t.Errorf("%s via %s: %s, the %s first, %d bytes of the client and %d of the server; the wire had %d and %d", r.Direction, r.Tags.Get(recording.TagVia),
						r.L7Protocol, r.messages[0].From, r.TCP.ClientBytes, r.TCP.ServerBytes, passed.client.Len(), passed.server.Len())
				}
			}
			if said := recorded[0].said(recording.Client); !strings.Contains(said, "select count(*), sum(n) from tape") {
				t.Errorf("the client is recorded with %.300q", said)
			}
		})
	}
}
