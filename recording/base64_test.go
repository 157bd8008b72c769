package recording

import (
	"encoding/base64"
	"testing"
)

func TestAppendBase64(t *testing.T) {
	src := make([]byte, 300)
	for i := range src {
		src[i] = byte(i*7 + i>>3)
	}
	for n := range src {
		for _, room := range []int{0, 1, 500} {
			dst := append(make([]byte, 0, room+3), "abc"...)
			if got, want := string(appendBase64(dst, src[:n])), `abc"`+base64.StdEncoding.EncodeToString(src[:n])+`"`; got != want {
				t.Fatalf("%d bytes: %s, want %s", n, got, want)
			}
		}
	}
}
