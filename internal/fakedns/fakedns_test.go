package fakedns

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
)

func TestNamesLeadToAddresses(t *testing.T) {
	Use(t, map[string]string{"postgres.db": "192.0.2.7"})
	for _, name := range []string{"postgres.db", "Postgres.DB", "postgres.db."} {
		if got, err := net.DefaultResolver.LookupHost(t.Context(), name); err != nil || !slices.Equal(got, []string{"192.0.2.7"}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	var missing *net.DNSError
	if got, err := net.DefaultResolver.LookupHost(t.Context(), "redis.db"); !errors.As(err, &missing) || !missing.IsNotFound {
		t.Errorf("a name that is not there: %v, %v", got, err)
	}
}

func TestAddressesInTurn(t *testing.T) {
	UseInTurn(t, map[string][]string{"rebound.db": {"192.0.2.7", "192.0.2.8"}, "six.db": {"2001:db8::7"}})
	for _, want := range []string{"192.0.2.7", "192.0.2.8", "192.0.2.8"} {
		if got, err := net.DefaultResolver.LookupHost(t.Context(), "rebound.db"); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%v, %v; want %s", got, err, want)
		}
	}
	if got, err := net.DefaultResolver.LookupHost(t.Context(), "six.db"); err != nil || !slices.Equal(got, []string{"2001:db8::7"}) {
		t.Errorf("%v, %v", got, err)
	}
}

// Code under test may look up names at any time, also when a test ends.
func TestTheResolverMayBeInUseWhenATestEnds(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	looking.Go(func() {
		for ctx.Err() == nil {
			_, _ = net.DefaultResolver.LookupHost(ctx, "postgres.db")
		}
	})
	undo := Replace(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no server of names") })
	for range 20 {
		t.Run("a test", func(t *testing.T) { Use(t, map[string]string{"postgres.db": "192.0.2.7"}) })
	}
	stop()
	looking.Wait()
	undo()
}
