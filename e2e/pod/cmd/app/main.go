// Command app is every application of the tests: the captured one, the one it
// depends on, and the sites outside the mesh. It speaks HTTP/1.1, HTTP/2 and
// gRPC on one port, with TLS if it has a certificate.
//
//	GET  /hello             says how the request arrived
//	POST /echo              returns the body
//	GET  /slow?ms=N         answers after N ms, and says on standard output that it began
//	GET  /fetch?url=URL     asks another server, through the proxy that the environment names
//	GET  /check?target=A    asks another server's gRPC health service
//	GET  /quit              ends the process, as a Job ends
//	GET  /repo.git/…        a repository that git can list
//
// It is also a shop; see there.
//
// `app fetch URL` asks once and exits, as a command; `app direct URL` has a transport
// that reads no proxy variable.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "fetch":
		err = fetchOnce(http.DefaultClient, os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "direct":
		err = fetchOnce(direct(), os.Args[2])
	default:
		err = serve()
	}
	if err != nil {
		log.Fatal(err)
	}
}

// direct is a client that reads no proxy variables.
func direct() *http.Client { return &http.Client{Transport: &http.Transport{Proxy: nil}} }

func fetchOnce(c *http.Client, url string) error {
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(os.Stdout, res.Body)
	return err
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	calls := grpc.NewServer()
	healthpb.RegisterHealthServer(calls, health.NewServer())
	pages := pages(stop)
	srv := &http.Server{
		Addr: os.Getenv("LISTEN"),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
				calls.ServeHTTP(w, r)
				return
			}
			pages.ServeHTTP(w, r)
		}),
		Protocols: new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() {
		if cert := os.Getenv("TLS_CERT"); cert != "" {
			ended <- srv.ListenAndServeTLS(cert, os.Getenv("TLS_KEY"))
			return
		}
		ended <- srv.ListenAndServe()
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	finish, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(finish)
}

func pages(quit func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s from %s over %s\n", r.Host, peer(r), r.Proto)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		// Read the whole body first: an HTTP/1.1 server in Go cuts off a body that
		// is still arriving when the answer begins.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(body)
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil || ms > 10_000 {
			http.Error(w, "ms is no number up to 10000", http.StatusBadRequest)
			return
		}
		fmt.Println("begun", r.URL)
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			fmt.Fprintln(w, "done")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /fetch", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (string, error) { return fetch(r) })
	})
	mux.HandleFunc("GET /check", func(w http.ResponseWriter, r *http.Request) {
		answer(w, func() (string, error) { return check(r) })
	})
	mux.HandleFunc("GET /quit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "bye")
		quit()
	})
	newShop().register(mux)
	const head = "1111111111111111111111111111111111111111\trefs/heads/main\n"
	mux.HandleFunc("GET /repo.git/info/refs", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, head) })
	mux.HandleFunc("GET /repo.git/HEAD", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ref: refs/heads/main") })
	return mux
}

// peer returns the client's identity as Envoy reports it.
func peer(r *http.Request) string {
	if xfcc := r.Header.Get("X-Forwarded-Client-Cert"); xfcc != "" {
		return xfcc
	}
	return "nobody known"
}

func answer(w http.ResponseWriter, ask func() (string, error)) {
	text, err := ask()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprint(w, text)
}

// traces are the headers that an application passes on.
var traces = []string{"Traceparent", "X-Request-Id"}

func fetch(r *http.Request) (string, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.URL.Query().Get("url"), nil)
	if err != nil {
		return "", err
	}
	for _, name := range traces {
		if v := r.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(body), err
}

func check(r *http.Request) (string, error) {
	conn, err := grpc.NewClient(r.URL.Query().Get("target"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	for _, name := range traces {
		if v := r.Header.Get(name); v != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, name, v)
		}
	}
	res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return res.GetStatus().String(), err
}
