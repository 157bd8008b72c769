package read

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// asked returns an exchange of a service in a direction, with the host and address that a client
// asked for.
func asked(n int, direction, service, host, address string) *recording.Exchange {
	e := exchange(n, at(0), 0)
	e.Direction, e.Service, e.NetworkAddress = direction, service, address
	if e.HTTP = nil; host != "" {
		e.HTTP = &recording.HTTP{Req: recording.HTTPRequest{Method: "GET", URL: "/", URI: "/", Host: host, Version: "1.1"}}
	}
	return e
}

func TestSliceKeys(t *testing.T) {
	captured := asked(0, recording.In, "cart", "cart.shop:80", ":15006")
	captured.Tags.Set(recording.TagReverseProxyPort, "8080")
	encrypted := asked(0, recording.Out, "cart", "api.example.com", "")
	encrypted.IsTLS = true
	for _, c := range []struct {
		e    *recording.Exchange
		want string
	}{
		{captured, "cart:cart.shop:8080"},
		{asked(0, recording.In, "cart", "Cart.Shop.", ":8080"), "cart:cart.shop:8080"},
		{asked(0, recording.Out, "cart", "api.example.com", "api.example.com:443"), "cart:api.example.com:443"},
		{asked(0, recording.Out, "cart", "api.example.com:8443", ""), "cart:api.example.com:8443"},
		{asked(0, recording.Out, "cart", "api.example.com", ""), "cart:api.example.com:80"},
		{encrypted, "cart:api.example.com:443"},
		{asked(0, recording.Out, "cart", "", "db:5432"), "cart:db:5432"},
		{asked(0, recording.Out, "cart", "[fd00::1]:80", ""), "cart:fd00::1:80"},
		{asked(0, recording.Out, "", "", ""), "undefined::"},
	} {
		if got := SliceKey(c.e); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestSlicesSelectByKey(t *testing.T) {
	m := &memory{}
	newPod("p").segment(m, at(0),
		asked(0, recording.In, "cart", "cart.shop", ":8080"),
		asked(1, recording.In, "cart", "cart.shop.svc", ":8080"),
		asked(2, recording.Out, "cart", "api.example.com", "api.example.com:443"),
		asked(3, recording.Out, "cart", "api.example.com", "api.example.com:8443"),
		asked(4, recording.Out, "cart", "", "db:5432"))
	for _, c := range []struct {
		direction, wanted, want string
	}{
		{recording.Out, "", "/0 /1 /2 /3 /4"},
		{recording.Out, "*", "/0 /1 /2 /3 /4"},
		{recording.Out, "db", "/0 /1 /4"},
		{recording.Out, "db cart:api.example.com:443", "/0 /1 /2 /4"},
		{recording.Out, ":443", "/0 /1 /2"},
		{recording.In, "cart:cart.shop:8080", "/0 /2 /3 /4"},
		{recording.In, "svc", "/1 /2 /3 /4"},
		{recording.Out, "api", `"api" is part of several keys, ["cart:api.example.com:443" "cart:api.example.com:8443"]: want one`},
		{recording.In, "api", `"api" is not part of any key SERVICE:HOST:PORT of the recording, which has ["cart:cart.shop.svc:8080" "cart:cart.shop:8080"]`},
	} {
		q, err := Slice(t.Context(), Query{}, nil, c.direction, strings.Fields(c.wanted), m)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			all, _ := readAll(t, q, Options{}, m)
			got = locations(all)
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s %q: %s, want %s", c.direction, c.wanted, got, c.want)
		}
	}
	if _, err := Slice(t.Context(), Query{}, nil, recording.In, []string{"cart"}, &memory{}); err == nil || !strings.Contains(err.Error(), "no exchange is selected") {
		t.Errorf("of nothing: %v", err)
	}
}

// A client may ask for any number of hosts. Then part of a key may be ambiguous, but a whole key is not.
func TestSlicesOfManyHosts(t *testing.T) {
	m := &memory{}
	p := newPod("p")
	var all []*recording.Exchange
	for n := range maxSlices + 10 {
		all = append(all, asked(n, recording.In, "cart", "h"+strings.Repeat("x", n%100)+"-"+string(rune('a'+n/100%26))+string(rune('a'+n/2600))+".test", ":8080"))
	}
	all = append(all, asked(len(all), recording.In, "cart", "last.test", ":8080"))
	p.segment(m, at(0), all...)
	if _, err := Slice(t.Context(), Query{}, nil, recording.In, []string{"last"}, m); err == nil || !strings.Contains(err.Error(), "want a whole key") {
		t.Errorf("a part: %v", err)
	}
	q, err := Slice(t.Context(), Query{}, nil, recording.In, []string{"cart:last.test:8080"}, m)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := readAll(t, q, Options{}, m); len(got) != 1 {
		t.Errorf("%d exchanges", len(got))
	}
}
