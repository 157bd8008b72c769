package proxy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// postgres starts a PostgreSQL server that listens on an address, or on all if that is "*". rules
// come before the default rules that say who needs a password. It returns the server's address.
func postgres(t *testing.T, listen, rules string) *net.TCPAddr {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Skip("needs PostgreSQL's server (Debian: postgresql)")
	}
	bin := filepath.Dir(found[0])
	dir, err := os.MkdirTemp("", "tapedeck-postgres") // t.TempDir's parents are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...)
		cmd.Dir = dir
		if os.Getuid() == 0 { // PostgreSQL does not run as root
			nobody, err := user.Lookup("nobody")
			if err != nil {
				t.Skipf("PostgreSQL does not run as root, and there is no other user: %v", err)
			}
			uid, _ := strconv.Atoi(nobody.Uid)
			gid, _ := strconv.Atoi(nobody.Gid)
			os.Chown(dir, uid, gid)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		}
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := command("initdb", "-D", data, "-U", "tester", "--no-sync", "--no-instructions").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s", err, out)
	}
	hba := filepath.Join(data, "pg_hba.conf")
	defaults, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hba, append([]byte(rules), defaults...), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr)
	ln.Close() // for the server to take
	server := command("postgres", "-D", data, "-h", listen, "-p", strconv.Itoa(addr.Port), "-k", "", "-F")
	var said logbuffer.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGQUIT)
		server.Wait()
	})
	eventually(t, "PostgreSQL is ready", func() bool { return strings.Contains(said.String(), "ready to accept connections") })
	return addr
}

// A database's own client and server talk through the proxy.
func TestPostgreSQL(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("needs psql (Debian: postgresql-client)")
	}
	db := postgres(t, "*", "host all all 127.0.0.6/32 trust\n")
	s := run(t, db, nil)
	const rows = 100_000
	cmd := exec.CommandContext(t.Context(), psql, "-X", "-At", "-v", "ON_ERROR_STOP=1",
		fmt.Sprintf("host=127.0.0.1 port=%d user=tester dbname=postgres", s.InAddr().(*net.TCPAddr).Port))
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`
create table copied (n int);
copy copied from stdin;
%s\.
select count(*), sum(n) from copied;
listen news;
notify news, 'hello';
select pg_sleep(0);
copy (select n from copied order by n desc) to stdout;
`, numbers(rows)))
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) < rows || lines[len(lines)-1] != "1" || !strings.Contains(string(out), fmt.Sprintf("%d|%d\n", rows, rows*(rows+1)/2)) ||
		!strings.Contains(string(out), `Asynchronous notification "news" with payload "hello"`) {
		t.Errorf("%d lines, %v: %.300s … %.100s", len(lines), err, out, out[max(0, len(out)-100):])
	}
	s.stop()
	flows := s.tape.find(tap.In)
	if len(flows) == 0 || !strings.Contains(flows[0].side[tap.FromClient].String(), "copy copied from stdin") {
		t.Errorf("the tap saw %d flows", len(flows))
	}
}

// By default PostgreSQL makes everybody who connects from loopback a superuser. It refuses a
// remote caller through the reverse proxy, as it does without it.
func TestPostgreSQLTrustsNobodyBecauseOfTheSidecar(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("needs psql (Debian: postgresql-client)")
	}
	var outside net.IP
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			outside = n.IP
		}
	}
	if outside == nil {
		t.Skip("this host has no address but loopback's")
	}
	db := postgres(t, "*", "")
	ask := func(host string, port int) string {
		out, err := exec.CommandContext(t.Context(), psql, "-X", "-At", "-w", "-c", "select usesuper from pg_user where usename = current_user",
			fmt.Sprintf("host=%s port=%d user=tester dbname=postgres sslmode=disable", host, port)).CombinedOutput()
		return fmt.Sprintf("%s (%v)", strings.TrimSpace(string(out)), err)
	}
	const superuser, refused = "t (<nil>)", "no pg_hba.conf entry for host"
	if got := ask("127.0.0.1", db.Port); got != superuser {
		t.Fatalf("loopback is not trusted: %s", got)
	}
	if got := ask(outside.String(), db.Port); !strings.Contains(got, refused) {
		t.Fatalf("from outside, directly: %s", got)
	}
	for _, host := range []string{"127.0.0.1", "localhost", outside.String()} {
		for _, protocol := range []Protocol{TCP, HTTP, SOCKS} {
			s := run(t, db, func(c *Config) { c.In[0].App.Host, c.InProtocol = host, protocol })
			if got := ask("127.0.0.1", s.InAddr().(*net.TCPAddr).Port); !strings.Contains(got, refused+` "127.0.0.6"`) {
				t.Errorf("through the sidecar in front of %s, with %s: %s", host, protocol, got)
			}
			s.stop()
		}
	}
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}
