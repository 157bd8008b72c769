package redact

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

var (
	benchOrder = padded(`{"order_id":"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","customer":{"id":4711,"name":"Jane Doe","email":"jane@shop.example","address":{"street":"Main Street 17","city":"Springfield","zip":"12345","country":"US"}},"currency":"EUR","express":false,"coupon":null,"items":[`,
		`{"id":"6E92ZMYYFZ","name":"Mug","quantity":2,"price":{"currency":"EUR","units":8,"nanos":990000000}}`, `],"comment":"please leave it at the door"}`)
	benchOrdered = padded(`{"order":{"id":"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","status":"accepted","createdAt":"2026-11-22T20:15:00.123456Z","updatedAt":"2026-11-22T20:15:00.123456Z","total":{"currency":"EUR","units":71,"nanos":920000000},"links":{"self":"https://shop.example/api/v1/orders/5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","invoice":"https://shop.example/api/v1/invoices/17"}},"items":[`,
		`{"id":"L9ECAV7KIM","name":"Terrarium","available":true,"tags":["garden","glass"],"weight":1.25}`, `],"page":1,"pages":1}`)
)

func padded(begin, item, end string) string {
	const size = 1 << 10
	s := begin + item
	for len(s)+1+len(item)+len(end) <= size {
		s += "," + item
	}
	return s + end + strings.Repeat(" ", size-len(s)-len(end))
}

// BenchmarkBody searches a body each time as if it were new.
func BenchmarkBody(b *testing.B) {
	for name, body := range map[string]string{"order": benchOrder, "ordered": benchOrdered} {
		b.Run(name, func(b *testing.B) {
			r := New(recording.Discard{}, Options{})
			b.ReportAllocs()
			for b.Loop() {
				document(r, body, "application/json")
			}
		})
	}
}
