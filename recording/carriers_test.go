package recording

import "testing"

func TestARequestCarriesTheSurestID(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for name, c := range map[string]struct {
		headers    Headers
		id, shared string
	}{
		"nothing":          {nil, "", ""},
		"traceparent":      {Headers{{"X-Request-Id", "r"}, {"Traceparent", "00-" + id + "-b7ad6b7169203331-01"}}, id, id[16:]},
		"a broken one":     {Headers{{"Traceparent", "00-" + id}, {"X-Request-Id", "r"}}, "r", "r"},
		"b3":               {Headers{{"B3", id[16:] + "-b7ad6b7169203331-1"}}, id[16:], id[16:]},
		"b3's decision":    {Headers{{"B3", "0"}}, "", ""},
		"b3 in parts":      {Headers{{"X-B3-Traceid", id}}, id, id[16:]},
		"a request's UUID": {Headers{{"X-Request-Id", "6ba7b810-9dad-91d1-80b4-00c04fd430c8"}}, "6ba7b810-9dad-91d1-80b4-00c04fd430c8", "6ba7b810-9dad-1d1-80b4-00c04fd430c8"},
	} {
		if id, shared := c.headers.Trace(); id != c.id || shared != c.shared {
			t.Errorf("%s: %q, %q; want %q, %q", name, id, shared, c.id, c.shared)
		}
	}
}
