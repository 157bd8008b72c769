package collector_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

func TestASegmentIsStoredOnce(t *testing.T) {
	r := start(t)
	u := segment(t, lines(exchange(1), exchange(2), counters()))
	for i, want := range []int{http.StatusCreated, http.StatusOK, http.StatusOK} {
		if a := r.send(t, u); a.status != want {
			t.Errorf("upload %d: %+v, want %d", i+1, a, want)
		}
	}
	if !bytes.Equal(r.stored(t, u), u.body) {
		t.Error("other bytes are stored")
	}
	if keys := r.keys(t); len(keys) != 1 {
		t.Errorf("stored: %q", keys)
	}
	for series, want := range map[string]string{
		`tapedeck_collector_segments_total{namespace="shop",result="stored"}`:  "1",
		`tapedeck_collector_segments_total{namespace="shop",result="present"}`: "2",
	} {
		if got := r.metric(t, series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
}

// A killed sidecar leaves a segment without counters, and other versions write JSON in another order.
func TestSegmentsThatAreTaken(t *testing.T) {
	for name, text := range map[string][]byte{
		"without counters":    exchange(1),
		"counters alone":      counters(),
		"members in an order": lines([]byte(`{"service":"cart","namespace":"shop","cluster":"c1","msgType":"rrpair","direction":"IN","location":"/"}`+"\n"), counters()),
		"a new member":        lines([]byte(`{"msgType":"rrpair","cluster":"c1","namespace":"shop","service":"cart","new":{"namespace":"bank"},"direction":"IN"}`+"\n"), counters()),
		"a long line":         lines(exchange(1, body(3<<20)), exchange(2), exchange(3, body(2<<20)), counters()),
	} {
		t.Run(name, func(t *testing.T) {
			if a := start(t).send(t, segment(t, text)); a.status != http.StatusCreated {
				t.Errorf("%+v", a)
			}
		})
	}
	t.Run("names that can't be part of a key", func(t *testing.T) {
		k := shop()
		k.Cluster, k.Workload = "arn-aws-eks", recording.Undefined
		u := of(k, compress(t, lines(exchange(1, func(e *recording.Exchange) { e.Cluster, e.Service = "arn:aws:eks", "" }))))
		if a := start(t).send(t, u); a.status != http.StatusCreated {
			t.Errorf("%+v", a)
		}
	})
	t.Run("with a checksum", func(t *testing.T) {
		if a := start(t).send(t, of(shop(), compress(t, exchange(1), zstd.WithEncoderCRC(true)))); a.status != http.StatusCreated {
			t.Errorf("%+v", a)
		}
	})
}

func body(n int) func(*recording.Exchange) {
	return func(e *recording.Exchange) { e.HTTP.Res.Body = bytes.Repeat([]byte("0123456789abcdef"), n/16) }
}

// A client that is refused gets the reason, and nothing is stored.
func TestWhatIsRefused(t *testing.T) {
	good := lines(exchange(1), counters())
	xfcc := func(value string) func() *upload {
		return func() *upload { return segment(t, good).with("X-Forwarded-Client-Cert", value) }
	}
	in := func(change func(*recording.Exchange)) func() *upload {
		return func() *upload { return segment(t, lines(exchange(1), exchange(2, change), counters())) }
	}
	text := func(all ...[]byte) func() *upload {
		return func() *upload { return segment(t, lines(all...)) }
	}
	raw := func(body func() []byte) func() *upload {
		return func() *upload { return of(shop(), body()) }
	}
	named := func(name string) func() *upload {
		return func() *upload {
			u := segment(t, good)
			u.name = name
			return u
		}
	}
	req := func(change func(*http.Request)) func() *upload {
		return func() *upload {
			u := segment(t, good)
			u.change = change
			return u
		}
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0}, "1234"...)

	for name, c := range map[string]struct {
		code   string
		upload func() *upload
		words  string
	}{
		"GET":                {contract.RefusedMethod, func() *upload { u := segment(t, good); u.method = http.MethodGet; return u }, "the other port"},
		"a path in the sink": {contract.RefusedMethod, req(func(r *http.Request) { r.URL.Path = "/prefix" + r.URL.Path }), contract.SegmentsPath},
		"a query":            {contract.RefusedMethod, req(func(r *http.Request) { r.URL.RawQuery = "a=b" }), contract.SegmentsPath},
		"POST":               {contract.RefusedMethod, func() *upload { u := segment(t, good); u.method = http.MethodPost; return u }, ""},
		"no token":           {contract.RefusedToken, func() *upload { u := segment(t, good); u.token = "-"; return u }, "0 Authorization headers"},
		"no real token":      {contract.RefusedToken, func() *upload { u := segment(t, good); u.token = "x"; return u }, "collect token"},
		"two tokens":         {contract.RefusedToken, req(func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }), "2 Authorization headers"},
		"basic":              {contract.RefusedToken, req(func(r *http.Request) { r.SetBasicAuth("a", "b") }), "Bearer"},
		"another's key": {contract.RefusedNamespace, func() *upload {
			u := segment(t, good)
			u.token = contract.CollectorToken([]byte("another key"), "c1", "shop")
			return u
		}, ""},
		"of a namespace": {contract.RefusedNamespace, func() *upload { u := segment(t, good); u.token = contract.CollectorToken(key, "c1", "bank"); return u }, `"shop"`},
		"of a cluster":   {contract.RefusedNamespace, func() *upload { u := segment(t, good); u.token = contract.CollectorToken(key, "c2", "shop"); return u }, `"c1"`},

		"the mesh says another":       {contract.RefusedPrincipal, xfcc("By=spiffe://td/ns/speedscale/sa/collector;Hash=00;URI=spiffe://td/ns/bank/sa/x"), `"bank"`},
		"the last element is another": {contract.RefusedPrincipal, xfcc("By=a;URI=spiffe://td/ns/shop/sa/x,By=b;URI=spiffe://td/ns/bank/sa/x"), `"bank"`},
		"two identities":              {contract.RefusedPrincipal, xfcc("URI=spiffe://td/ns/shop/sa/x;URI=spiffe://td/ns/bank/sa/x"), ""},
		"no identity":                 {contract.RefusedPrincipal, xfcc("By=a;Hash=00;Subject=\"\";URI="), "no URI"},
		"another kind of identity":    {contract.RefusedPrincipal, xfcc("URI=spiffe://td/shop"), "no URI"},
		"hidden in a quote":           {contract.RefusedPrincipal, xfcc(`URI=spiffe://td/ns/shop/sa/x;Subject=",By=b;Hash=0;Subject="";URI=spiffe://td/ns/bank/sa/x`), ""},
		"the last line is another": {contract.RefusedPrincipal, req(func(r *http.Request) {
			r.Header["X-Forwarded-Client-Cert"] = []string{"URI=spiffe://td/ns/shop/sa/x", "URI=spiffe://td/ns/bank/sa/x"}
		}), ""},

		"a future contract": {contract.RefusedContract, func() *upload { return segment(t, good).with(contract.HeaderContract, "99") }, "accepts 3 to"},
		"an old contract":   {contract.RefusedContract, func() *upload { return segment(t, good).with(contract.HeaderContract, "2") }, ""},
		"no contract":       {contract.RefusedContract, req(func(r *http.Request) { r.Header.Del(contract.HeaderContract) }), ""},
		"another type":      {contract.RefusedUnsupported, func() *upload { return segment(t, good).with("Content-Type", "application/json") }, "application/json"},
		"an encoding":       {contract.RefusedUnsupported, func() *upload { return segment(t, good).with("Content-Encoding", "gzip") }, "gzip"},
		"chunked":           {contract.RefusedLength, req(func(r *http.Request) { r.ContentLength = -1 }), ""},
		"no digest":         {contract.RefusedDigest, req(func(r *http.Request) { r.Header.Del(contract.HeaderDigest) }), "0 SHA-256 digests"},
		"two digests":       {contract.RefusedDigest, req(func(r *http.Request) { r.Header.Add(contract.HeaderDigest, r.Header.Get(contract.HeaderDigest)) }), "2 SHA-256 digests"},
		"malformed digest":  {contract.RefusedDigest, func() *upload { return segment(t, good).with(contract.HeaderDigest, "sha-256=:AAAA:") }, "malformed"},
		"other bytes than the header's": {contract.RefusedDigest, func() *upload {
			u := segment(t, good)
			u.body = append(bytes.Clone(u.body[:len(u.body)-1]), u.body[len(u.body)-1]^1)
			return u
		}, "header"},
		"other bytes than the key's": {contract.RefusedDigest, func() *upload {
			u := segment(t, good)
			u.key.Digest = strings.Repeat("0", recording.DigestDigits)
			return u
		}, "the key says"},

		"no key":            {contract.RefusedKey, named("x"), ""},
		"no digest in it":   {contract.RefusedKey, named(shop().String()), "no digest"},
		"up":                {contract.RefusedKey, named("cluster=c1/namespace=shop/workload=cart/../../x.jsonl.zst"), ""},
		"an escaped slash":  {contract.RefusedKey, named("cluster=c1/namespace=shop/workload=..%2fx/date=2026-11-22/hour=20/20261122T201500.000Z-a-0.0000000000000000.jsonl.zst"), ""},
		"snapshots":         {contract.RefusedKey, named("snapshots/6ba7b810-9dad-41d1-80b4-00c04fd430c8/manifest.json"), ""},
		"a part":            {contract.RefusedKey, named(shop().String() + recording.PartSuffix), "incomplete segment"},
		"merged":            {contract.RefusedKey, func() *upload { u := segment(t, good); u.key.Pod = recording.MergedPod; return u }, "merged"},
		"a long key":        {contract.RefusedKey, named(strings.Repeat("k", 2000)), "2000 bytes"},
		"a folder of a dot": {contract.RefusedKey, func() *upload { u := segment(t, good); u.key.Workload = "cart."; return u }, "dot"},

		"a record of a namespace":            {contract.RefusedRecord, in(func(e *recording.Exchange) { e.Namespace = "bank" }), `line 2: the record names the namespace "bank"`},
		"a record of a cluster":              {contract.RefusedRecord, in(func(e *recording.Exchange) { e.Cluster = "c2" }), `"c2"`},
		"a record of a workload":             {contract.RefusedRecord, in(func(e *recording.Exchange) { e.Service = "pay" }), `"pay"`},
		"a record without a namespace":       {contract.RefusedRecord, in(func(e *recording.Exchange) { e.Namespace = "" }), `"undefined"`},
		"a first record without a namespace": {contract.RefusedRecord, text([]byte(`{"msgType":"rrpair"}` + "\n")), `"undefined"`},
		"counters of a namespace":            {contract.RefusedRecord, text(exchange(1), recording.Counters{Pod: "cart-7d4b"}.AppendLine(nil, "c1", "bank", "cart")), `"bank"`},
		"counters of a pod":                  {contract.RefusedRecord, text(exchange(1), counters(func(c *recording.Counters) { c.Pod = "pay-1" })), `"pay-1"`},
		"counters of a segment":              {contract.RefusedRecord, text(exchange(1), counters(func(c *recording.Counters) { c.Segment = 7 })), "segment 7"},
		// A reader that takes the first of two members, or any case, would find another namespace.
		"a namespace twice": {contract.RefusedSegment, text([]byte(`{"msgType":"rrpair","namespace":"bank","cluster":"c1","namespace":"shop","service":"cart"}` + "\n")), "repeated"},
		"a namespace after the end": {contract.RefusedSegment, in(func(e *recording.Exchange) {
			e.Extra = []recording.Member{{Name: "namespace", Value: []byte(`"bank"`)}, {Name: "x", Value: []byte(`{"y":{"z":{}}}`)}}
		}), "repeated"},
		"a namespace in capitals": {contract.RefusedSegment, text([]byte(`{"msgType":"rrpair","Namespace":"bank","cluster":"c1","namespace":"shop","service":"cart"}` + "\n")), "spelling"},
		"counters twice":          {contract.RefusedSegment, text(counters(), counters()), "after the counters"},
		"a record after them":     {contract.RefusedSegment, text(counters(), exchange(1)), "line 2: found data after the counters"},

		"nothing":                 {contract.RefusedSegment, raw(func() []byte { return nil }), "no"},
		"an empty frame":          {contract.RefusedSegment, text(), "empty"},
		"plain text":              {contract.RefusedSegment, raw(func() []byte { return good }), "zstd frame"},
		"no newline at the end":   {contract.RefusedSegment, text(bytes.TrimSpace(exchange(1))), "newline"},
		"an empty line":           {contract.RefusedSegment, text(exchange(1), []byte("\n")), "line 2"},
		"an array":                {contract.RefusedSegment, text([]byte("[]\n")), ""},
		"another kind of record":  {contract.RefusedSegment, text([]byte(`{"msgType":"other"}` + "\n")), `"other"`},
		"no JSON":                 {contract.RefusedSegment, text([]byte("{\n")), ""},
		"two on a line":           {contract.RefusedSegment, text(bytes.TrimSpace(exchange(1)), exchange(2)), "after top-level value"},
		"a broken record":         {contract.RefusedSegment, text([]byte(`{"msgType":"rrpair","http":5,"cluster":"c1","namespace":"shop","service":"cart"}` + "\n")), ""},
		"two frames":              {contract.RefusedSegment, raw(func() []byte { return append(compress(t, good), compress(t, exchange(2))...) }), "after the zstd frame"},
		"a skippable frame after": {contract.RefusedSegment, raw(func() []byte { return append(compress(t, good), skippable...) }), "after the zstd frame"},
		"a skippable frame first": {contract.RefusedSegment, raw(func() []byte { return append(bytes.Clone(skippable), compress(t, good)...) }), "skippable"},
		"a byte after":            {contract.RefusedSegment, raw(func() []byte { return append(compress(t, good), 0) }), "after the zstd frame"},
		"a torn frame":            {contract.RefusedSegment, raw(func() []byte { b := compress(t, good); return b[:len(b)-3] }), "zstd frame is missing"},
		"a damaged frame": {contract.RefusedSegment, raw(func() []byte {
			b := compress(t, good, zstd.WithEncoderCRC(true))
			b[len(b)-1] ^= 1
			return b
		}), "decompressed"},

		"a large window": {contract.RefusedTooLarge, raw(func() []byte {
			var b bytes.Buffer
			z, err := zstd.NewWriter(&b, zstd.WithWindowSize(64<<20), zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			for n := range 30_000 {
				z.Write(exchange(n))
			}
			z.Close()
			return b.Bytes()
		}), "window"},
		"a bomb of blocks": {contract.RefusedTooLarge, raw(func() []byte {
			head, end := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}, []byte{1, 0, 0} // a window of 2 MiB, and an empty block that is the last
			return slices.Concat(head, make([]byte, 3*(128<<10)), end)
		}), "zstd blocks"},
		"a bomb of lines": {contract.RefusedTooLarge, raw(func() []byte { return bomb(t, exchange(1, body(1<<20)), 200) }), "decompressed"},
		"much that is costly to read": {contract.RefusedTooLarge, raw(func() []byte {
			return bomb(t, []byte(`{"msgType":"rrpair","service":"cart","cluster":"c1","namespace":"shop","direction":"IN","location":"`+strings.Repeat("x", 1<<20)+`"}`+"\n"), 17)
		}), "line 16: with this line"},
		"a bomb of a line": {contract.RefusedTooLarge, raw(func() []byte { return bomb(t, bytes.Repeat([]byte{'a'}, 1<<20), 70) }), "line 1: the line has more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			row, _ := contract.RefusalOf(c.code)
			a := r.send(t, c.upload())
			if a.code != c.code || a.status != row.Status || !strings.Contains(a.detail, c.words) {
				t.Errorf("%d %s %q, want %d %s …%s…", a.status, a.code, a.detail, row.Status, c.code, c.words)
			}
			if keys := r.keys(t); len(keys) != 0 {
				t.Errorf("stored: %q", keys)
			}
			if !strings.Contains(r.log.String(), "code="+c.code) {
				t.Errorf("the log: %s", r.log)
			}
		})
	}
}

// bomb compresses many repetitions of a text.
func bomb(t *testing.T, text []byte, times int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(128<<10), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		if _, err := z.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A collector of one cluster accepts no segment of another, whatever the token says.
func TestTheCollectorsClusters(t *testing.T) {
	r := start(t, func(o *collector.Options, _ *collector.Ports) { o.Clusters = []string{"arn:aws:eks", "c2"} })
	u := segment(t, exchange(1))
	if a := r.send(t, u); a.code != contract.RefusedNamespace || !strings.Contains(a.detail, "does not accept the cluster") {
		t.Errorf("%+v", a)
	}
	if got := r.metric(t, `tapedeck_collector_refused_total{code="namespace",namespace="shop"}`); got != "1" {
		t.Errorf("counted: %q", got)
	}
	k := shop()
	k.Cluster = "arn-aws-eks"
	if a := r.send(t, of(k, compress(t, exchange(1, func(e *recording.Exchange) { e.Cluster = "arn:aws:eks" })))); a.status != http.StatusCreated {
		t.Errorf("%+v", a)
	}
}

// While a key is replaced, tokens of either key are accepted.
func TestTokensOfSeveralKeys(t *testing.T) {
	other := []byte("another key of the collector")
	r := start(t, func(o *collector.Options, _ *collector.Ports) {
		o.Keys = func() [][]byte { return [][]byte{other, key} }
	})
	u := segment(t, exchange(1))
	for _, k := range [][]byte{key, other} {
		u.token = contract.CollectorToken(k, "c1", "shop")
		if a := r.send(t, u); a.code != "" {
			t.Errorf("%+v", a)
		}
	}
}

// In a mesh, the last element of the header says who the client is, and a name may have quotes.
func TestClientsOfTheMesh(t *testing.T) {
	r := start(t)
	for _, xfcc := range []string{
		"By=spiffe://cluster.local/ns/speedscale/sa/collector;Hash=0a1b;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/cart",
		"URI=spiffe://cluster.local/ns/bank/sa/pay,By=x;Hash=0a;Subject=\"CN=a\\\"b,O=c;d\";uri=spiffe://cluster.local/ns/shop/sa/cart;DNS=a;DNS=b",
		`URI="spiffe://cluster.local/ns/shop/sa/cart"`,
	} {
		if a := r.send(t, segment(t, exchange(1)).with("X-Forwarded-Client-Cert", xfcc)); a.code != "" {
			t.Errorf("%s: %+v", xfcc, a)
		}
	}
}
