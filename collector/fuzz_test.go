package collector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/store"
)

// The element that Envoy adds decides, whatever a client writes before it. Otherwise the
// header is refused.
func FuzzLastURIs(f *testing.F) {
	for _, s := range []string{
		"", "By=a;URI=spiffe://td/ns/shop/sa/x", `Subject="a\"b,c";URI=spiffe://td/ns/shop/sa/x`, `URI=spiffe://td/ns/shop/sa/x;Subject="`,
		`Subject="\`, `URI=a\`, `"`, `;`, `=`, `URI="spiffe://td/ns/shop/sa/x`, `x="a" ;URI=b`,
	} {
		f.Add(s, "CN=a,O=b")
	}
	f.Fuzz(func(t *testing.T, client, subject string) {
		const who = "spiffe://td/ns/bank/sa/x"
		envoy := `By=spiffe://td/ns/speedscale/sa/collector;Hash=0a;Subject="` + strings.ReplaceAll(strings.ReplaceAll(subject, `\`, ""), `"`, `\"`) + `";URI=` + who
		for _, header := range []string{client + "," + envoy, client + envoy[strings.Index(envoy, ";"):]} {
			uris, err := lastURIs(header)
			if err == nil && !slices.Contains(uris, who) {
				t.Errorf("%q is read as %q", header, uris)
			}
		}
		if uris, err := lastURIs(client + "," + envoy); err == nil && len(uris) != 1 {
			t.Errorf("%q is read as %q", client+","+envoy, uris)
		}
	})
}

// A path is the key of a segment in the place, or refused.
func FuzzKeyOf(f *testing.F) {
	key := fuzzKey()
	key.Digest = "0123456789abcdef"
	for _, s := range []string{contract.SegmentsPath + key.String(), contract.SegmentsPath + "cluster=a/namespace=b/../../x", "/", contract.SegmentsPath + "snapshots/x"} {
		f.Add(s)
	}
	c := &Collector{}
	f.Fuzz(func(t *testing.T, path string) {
		var u upload
		k, err := c.keyOf(&http.Request{URL: &url.URL{Path: path}}, &u)
		if err != nil {
			return
		}
		if k.String() != u.name || store.CheckKey(u.name) != nil || k.Pod == recording.MergedPod || k.Digest == "" || k.Part {
			t.Errorf("%q is taken as %+v", path, k)
		}
		if want := "cluster=" + k.Cluster + "/namespace=" + k.Namespace + "/"; !strings.HasPrefix(u.name, want) || strings.Contains(u.name, "..") && strings.Contains(u.name, "/..") {
			t.Errorf("%q is not below %s", u.name, want)
		}
	})
}

func oneBuffer() chan []byte {
	long := make(chan []byte, 1)
	long <- nil
	return long
}

func fuzzKey() recording.SegmentKey {
	hour := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	return recording.SegmentKey{Partition: recording.Partition{Cluster: "c1", Namespace: "shop", Workload: "cart", Hour: hour}, Began: hour, Pod: "cart-0"}
}

// Every reader can read an accepted segment, and no JSON parser finds another namespace in it.
func FuzzRecords(f *testing.F) {
	e := recording.Exchange{MsgType: recording.MsgType, Cluster: "c1", Namespace: "shop", Service: "cart", Direction: recording.In, HTTP: &recording.HTTP{}, NetInfo: &recording.NetInfo{}}
	record := string(e.AppendJSON(nil)) + "\n"
	for _, s := range []string{
		record, record + string(recording.Counters{Pod: "cart-0"}.AppendLine(nil, "c1", "shop", "cart")),
		`{"msgType":"rrpair","namespace":"bank","namespace":"shop","cluster":"c1","service":"cart"}` + "\n",
		`{"msgType":"rrpair","cluster":"c1","namespace":"shop","service":"cart","x":{"namespace":"bank"}}` + "\n",
		strings.Replace(record, "}}\n", `},"namespace":"bank","x":{"y":{"z":{}}}}`+"\n", 1),
		`{"msgType":"rrpair","cluster":"c1","nameſpace":"bank","namespace":"shop","service":"cart"}` + "\n",
		strings.ReplaceAll(record, "shop", `\u0073hop`),
	} {
		f.Add([]byte(s))
	}
	c := &checker{long: oneBuffer(), decoder: recording.Decoder{Reuse: true}}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		segment := z.EncodeAll(text, nil)
		if c.check(io.NewSectionReader(bytes.NewReader(segment), 0, int64(len(segment))), fuzzKey()) != nil {
			return
		}
		r, err := recording.NewReader(bytes.NewReader(segment))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var e recording.Exchange
		for err = r.Next(&e); err == nil; err = r.Next(&e) {
			if e.Cluster != "c1" || e.Namespace != "shop" || e.Service != "cart" {
				t.Errorf("a reader finds %q %q %q", e.Cluster, e.Namespace, e.Service)
			}
		}
		if err != io.EOF && !errors.Is(err, recording.ErrNoExchange) {
			t.Errorf("a reader finds %v", err)
		}
		for line := range bytes.Lines(text) {
			checkMembers(t, line)
		}
	})
}

// checkMembers checks each member of a line by itself, ignoring the case of names.
func checkMembers(t *testing.T, line []byte) {
	d := json.NewDecoder(bytes.NewReader(line))
	if _, err := d.Token(); err != nil {
		t.Errorf("%q: %v", line, err)
		return
	}
	for d.More() {
		name, _ := d.Token()
		var value any
		if err := d.Decode(&value); err != nil {
			t.Errorf("%q: %v", line, err)
			return
		}
		for member, want := range map[string]string{"cluster": "c1", "namespace": "shop", "service": "cart"} {
			if n, _ := name.(string); strings.EqualFold(n, member) && value != want {
				t.Errorf("%q has the member %s: %v", line, n, value)
			}
		}
	}
}

// FuzzFrame checks any bytes as a segment. They are accepted, or refused for a reason that lies in
// the segment.
func FuzzFrame(f *testing.F) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		f.Fatal(err)
	}
	one := z.EncodeAll([]byte("some text, some text"), nil)
	f.Add(one)
	f.Add(append(bytes.Clone(one), one...))
	f.Add(append([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, one...))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 1, 0, 0})
	f.Add(one[:len(one)-1])
	f.Fuzz(func(t *testing.T, segment []byte) {
		c := &checker{long: oneBuffer()}
		err := c.check(io.NewSectionReader(bytes.NewReader(segment), 0, int64(len(segment))), fuzzKey())
		r, ok := errors.AsType[*refused](err)
		if err != nil && (!ok || r.Code == contract.RefusedBusy || r.Code == contract.RefusedStore) {
			t.Errorf("%q: %v", segment, err)
		}
	})
}
