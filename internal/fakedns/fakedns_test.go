package fakedns

import (
	"errors"
	"net"
	"slices"
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
