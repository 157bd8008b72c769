package recording

import "testing"

// BenchmarkRedactMeshed redacts an exchange as meshes carry them.
func BenchmarkRedactMeshed(b *testing.B) {
	id := []string{"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10", "6b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10"}
	trace := []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	e := &Exchange{Location: "/api/v1/cart/items", Tags: Tags{{"captureMode", "proxy"}, {"k8sAppLabel", "cart"}, {"k8sAppPodName", "cart-7d4b9-x2x"}, {"k8sAppPodNamespace", "shop"},
		{"proxyType", "dual"}, {"proxyProtocol", "tcp:http"}, {"proxyVersion", "v0.1.0"}, {"reverseProxyHost", "localhost"}, {"reverseProxyPort", "8080"}, {"source", "tapedeck"},
		{"proxyLocation", "in"}, {"via", "tcp"}, {"sequence", "1"}, {"requestEndUs", "1"}, {"responseStartUs", "2"}, {TagPeer, "spiffe://cluster.local/ns/shop/sa/frontend"}, {TagPeerBy, "x"}},
		HTTP: &HTTP{Req: HTTPRequest{URI: "/api/v1/cart/items?user=4711", URL: "/api/v1/cart/items", Host: "cart.shop.svc.cluster.local:8080", Headers: Headers{
			{"Host", "cart.shop.svc.cluster.local:8080"}, {"User-Agent", "Go-http-client/1.1"}, {"Accept", "application/json"}, {"Accept-Encoding", "gzip"}, {"X-Forwarded-Proto", "http"}, {"X-Request-Id", ""},
			{"X-Forwarded-Client-Cert", "By=spiffe://cluster.local/ns/shop/sa/cart;Hash=0a1b2c3d;Subject=\"\";URI=spiffe://cluster.local/ns/shop/sa/frontend"}, {"Traceparent", ""}}},
			Res: HTTPResponse{ContentType: "application/json", StatusMessage: "200 OK", Headers: Headers{{"Content-Type", "application/json"}, {"Date", "Sun, 22 Nov 2026 20:15:00 GMT"}, {"Content-Length", "200"}}}}}
	r := NewRedact(Discard{})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		e.HTTP.Req.Headers[5].Value, e.HTTP.Req.Headers[7].Value = id[n&1], trace[n&1]
		r.Write(e)
	}
}
