package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// Wait requests the health of the sidecar in this pod until it is healthy, and gives up after
// patience; with 0 it makes one request. It is for exec probes, because Istio rewrites HTTP
// probes to its agent, which starts after this container.
func Wait(ctx context.Context, patience time.Duration) error {
	var own []string
	for _, host := range []string{"127.0.0.1", "::1"} { // one of them may not exist
		own = append(own, "http://"+net.JoinHostPort(host, strconv.Itoa(contract.AdminPort))+"/healthz")
	}
	return wait(ctx, patience, own)
}

// WaitFor waits like Wait until a GET of a URL returns status 200.
func WaitFor(ctx context.Context, patience time.Duration, address string) error {
	if err := checkHealthURL(address); err != nil {
		if strings.ContainsAny(address, "@?") { // it may have a password
			return err
		}
		return fmt.Errorf("%q: %w", address, err)
	}
	return wait(ctx, patience, []string{address})
}

// checkHealthURL checks a URL of a health endpoint. The error does not quote it.
func checkHealthURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("it is not a URL to ask for health: want http:// or https:// with a host and without a user, such as http://127.0.0.1:%d/healthz", contract.ResponderAdminPort)
	}
	return nil
}

func wait(ctx context.Context, patience time.Duration, urls []string) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(patience, 2*time.Second))
	defer cancel()
	var last error
	for {
		err := healthy(ctx, urls)
		if err == nil || patience == 0 {
			return err
		}
		if last == nil || ctx.Err() == nil { // otherwise err only says that the time is up
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not healthy after %v: %w", patience, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// healthy returns nil if the first URL that answers has status 200.
func healthy(ctx context.Context, urls []string) error {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Timeout:       2 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var errs []error
	for _, url := range urls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK && err == nil {
			return nil
		}
		return fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return errors.Join(errs...)
}
