package redact

import (
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// BenchmarkRedactMeshed redacts an exchange with the headers that meshes add.
func BenchmarkRedactMeshed(b *testing.B) {
	id := []string{"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10", "6b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10"}
	trace := []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	e := &recording.Exchange{Location: "/api/v1/cart/items", Tags: recording.Tags{{Name: "captureMode", Value: "proxy"}, {Name: "k8sAppLabel", Value: "cart"}, {Name: "k8sAppPodName", Value: "cart-7d4b9-x2x"}, {Name: "k8sAppPodNamespace", Value: "shop"},
		{Name: "proxyType", Value: "dual"}, {Name: "proxyProtocol", Value: "tcp:http"}, {Name: "proxyVersion", Value: "v0.1.0"}, {Name: "reverseProxyHost", Value: "localhost"}, {Name: "reverseProxyPort", Value: "8080"}, {Name: "source", Value: "tapedeck"},
		{Name: "proxyLocation", Value: "in"}, {Name: "via", Value: "tcp"}, {Name: "sequence", Value: "1"}, {Name: "requestEndUs", Value: "1"}, {Name: "responseStartUs", Value: "2"}, {Name: recording.TagPeer, Value: "spiffe://cluster.local/ns/shop/sa/frontend"}, {Name: recording.TagPeerBy, Value: "x"}},
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: "/api/v1/cart/items?user=4711", URL: "/api/v1/cart/items", Host: "cart.shop.svc.cluster.local:8080", Headers: recording.Headers{
			{Name: "Host", Value: "cart.shop.svc.cluster.local:8080"}, {Name: "User-Agent", Value: "Go-http-client/1.1"}, {Name: "Accept", Value: "application/json"}, {Name: "Accept-Encoding", Value: "gzip"}, {Name: "X-Forwarded-Proto", Value: "http"}, {Name: "X-Request-Id", Value: ""},
			{Name: "X-Forwarded-Client-Cert", Value: "By=spiffe://cluster.local/ns/shop/sa/cart;Hash=0a1b2c3d;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/frontend"}, {Name: "Traceparent", Value: ""}}},
			Res: recording.HTTPResponse{ContentType: "application/json", StatusMessage: "200 OK", Headers: recording.Headers{{Name: "Content-Type", Value: "application/json"}, {Name: "Date", Value: "Sun, 22 Nov 2026 20:15:00 GMT"}, {Name: "Content-Length", Value: "200"}}}}}
	r := New(recording.Discard{}, Options{})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		e.HTTP.Req.Headers[5].Value, e.HTTP.Req.Headers[7].Value = id[n&1], trace[n&1]
		r.Write(e)
	}
}
