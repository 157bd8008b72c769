package main

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

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/contract"
)

// newHealthzCommand asks the sidecar how it is, for exec probes: Istio rewrites
// HTTP probes, and waits for them before there is anyone to answer.
func newHealthzCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "healthz",
		Short: "Ask the sidecar in this pod whether it is ready, by exit code",
		Example: `  tapedeck healthz
  tapedeck healthz --wait 60s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), cmp.Or(wait, 2*time.Second))
			defer cancel()
			var last error
			for {
				err := healthy(ctx)
				if err == nil {
					return nil
				}
				if wait == 0 {
					return err
				}
				if last == nil || ctx.Err() == nil { // or else it says that the time is up
					last = err
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("not healthy after %v: %w", wait, last)
				case <-time.After(100 * time.Millisecond):
				}
			}
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "keep asking for this long until the answer is yes")
	return cmd
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
