package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/proxy/ca"
)

// writeCA makes a CA in a directory, with the file names of a mounted Secret.
func writeCA(t testing.TB, dir string, from time.Time, validity time.Duration) {
	t.Helper()
	cert, key, err := ca.Generate("test CA", from, validity)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "tls.key"), key)
}

// The log warns before the CA expires, and says when it has expired and when there is another
// one, which is not used. The clock is virtual.
func TestTheCAIsWatched(t *testing.T) {
	const day = 24 * time.Hour
	const (
		early, good, ending, expired = "not valid yet", "has become valid", "expires soon", "has expired"
		another                      = "the CA in the directory has changed"
	)
	type step struct {
		after time.Duration
		do    func(t *testing.T, dir string)
		says  []string // since the step before
	}
	renew := func(t *testing.T, dir string) { writeCA(t, dir, time.Now(), time.Hour) }
	remove := func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "tls.crt")) }
	for name, c := range map[string]struct {
		from, validity time.Duration // no validity: there is no CA
		steps          []step
	}{
		"a CA for a year": {0, 365 * day, []step{
			{0, nil, nil},
			{335*day - 2*caRecheck, nil, nil},
			{3 * caRecheck, nil, []string{ending}},
			{day - 2*caRecheck, nil, nil},
			{3 * caRecheck, nil, []string{ending}},
			{27 * day, nil, slices.Repeat([]string{ending}, 27)},
			{2*day - 3*caRecheck, nil, []string{ending}},
			{3 * caRecheck, nil, []string{expired}},
			{30 * day, nil, nil},
		}},
		"a CA for a day": {0, day, []step{
			{day/2 + time.Hour, nil, nil},
			{4 * time.Hour, nil, []string{ending}},
			{8 * time.Hour, nil, []string{expired}},
		}},
		"a CA that has expired": {-2 * day, day, []step{{0, nil, []string{expired}}, {day, nil, nil}}},
		"a CA for later":        {day, 30 * day, []step{{0, nil, []string{early}}, {day, nil, []string{good}}}},
		"a CA that is renewed":  {0, 365 * day, []step{{0, nil, nil}, {day, renew, []string{another}}, {day, nil, nil}, {0, renew, []string{another}}, {0, remove, nil}}},
		"a CA that comes late":  {0, 0, []step{{day, nil, nil}, {0, renew, []string{another}}, {day, nil, nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				var authority *ca.Authority
				if c.validity != 0 {
					writeCA(t, dir, time.Now().Add(c.from), c.validity)
					authority = authorityOf(t, dir)
				}
				logs := new(logbuffer.Buffer)
				w := newCAWatch(slog.New(slog.NewTextHandler(logs, nil)), authority, dir)
				w.look(time.Now())
				ctx, cancel := context.WithCancel(t.Context())
				go w.run(ctx)
				defer func() { cancel(); synctest.Wait() }()
				read := 0
				for n, s := range c.steps {
					time.Sleep(s.after) // in the bubble, which takes no time
					if s.do != nil {
						s.do(t, dir)
						time.Sleep(caRecheck + time.Second)
					}
					synctest.Wait()
					text := logs.String()
					var says []string
					for _, line := range strings.Split(strings.TrimSuffix(text[read:], "\n"), "\n") {
						for _, what := range []string{early, good, ending, expired, another} {
							if strings.Contains(line, what) {
								says = append(says, what)
							}
						}
					}
					if read = len(text); !slices.Equal(says, s.says) {
						t.Errorf("step %d: the log says %q, want %q", n, says, s.says)
					}
				}
			})
		})
	}
}

// A CA that can't be used blocks no connection: TLS passes untouched, and the metric and the log say
// why.
func TestWithACAThatIsNotValid(t *testing.T) {
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	for name, c := range map[string]struct {
		from time.Time
		says string
	}{
		"expired":       {time.Now().Add(-2 * time.Hour), "level=ERROR msg=\"the CA has expired"},
		"not valid yet": {time.Now().Add(time.Hour), "level=WARN msg=\"the CA is not valid yet"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeCA(t, dir, c.from, time.Hour)
			s := run(t, nil, func(cfg *Config) { cfg.TLSOut, cfg.CADir, cfg.UpstreamCA = true, dir, root })
			client, tr := s.client(t, s.out())
			tr.TLSClientConfig = &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
			resp, err := client.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp.Body); got != "hello" {
				t.Errorf("%q", got)
			}
			resp.Body.Close()
			tr.CloseIdleConnections()
			if n := strings.Count(s.logs.String(), c.says); n != 1 {
				t.Errorf("%d times %q", n, c.says)
			}
			want := "tapedeck_ca_expiry_timestamp_seconds " + strconv.FormatFloat(float64(c.from.Add(time.Hour).Unix()), 'g', -1, 64)
			metrics, err := http.Get("http://" + s.AdminAddr().String() + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			if text := readAll(t, metrics.Body); !strings.Contains(text, want+"\n") {
				t.Errorf("no %q in %s", want, text)
			}
			metrics.Body.Close()
			s.stop()
			if l := s.logs.String(); !strings.Contains(l, "tls=ca_invalid") {
				t.Errorf("the connection's line does not say why")
			}
		})
	}
}
