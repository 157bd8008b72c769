package rewrite

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// BenchmarkContains looks for two values in an exchange with bodies of 1 KiB.
func BenchmarkContains(b *testing.B) {
	binary := make([]byte, 1<<10)
	rand.NewChaCha8([32]byte{}).Read(binary)
	for name, body := range map[string]string{
		"JSON":   `{"items":[` + strings.Repeat(`{"id":"5f1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","name":"a thing & more","price":12.5},`, 12) + `{}]}`,
		"binary": string(binary),
	} {
		b.Run(name, func(b *testing.B) {
			rules := parse(b, "rules: [{do: remove, contains: [jane.doe@example.com, user-4711-x]}]")
			e := request("application/json", body)
			e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: "User-Agent", Value: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
				recording.Header{Name: "Authorization", Value: "Bearer REDACTED-0123456789abcdef"}, recording.Header{Name: "X-Request-Id", Value: "5f1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10"})
			w := New(rules, stand{})
			b.ReportAllocs()
			for b.Loop() {
				if !w.Rewrite(e) {
					b.Fatal("removed")
				}
			}
		})
	}
}
