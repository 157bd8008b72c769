package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// Wait asks the sidecar in this pod for its health until it is healthy, for as
// long as patience; 0 asks once. It serves exec probes: Istio rewrites HTTP
// probes, and the agent that it points them at starts after this container.
func Wait(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(patience, 2*time.Second))
	defer cancel()
	var last error
	for {
		err := healthy(ctx)
		if err == nil || patience == 0 {
			return err
		}
		if last == nil || ctx.Err() == nil { // or else it says that the time is up
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not healthy after %v: %w", patience, last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// healthy asks on both loopbacks: one of them may not exist.
func healthy(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	var errs []error
	for _, host := range []string{"127.0.0.1", "::1"} {
		url := "http://" + net.JoinHostPort(host, strconv.Itoa(contract.AdminPort)) + "/healthz"
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
