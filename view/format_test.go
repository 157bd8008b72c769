package view

import (
	"testing"
	"time"
)

func TestNumbersAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 1: "0 µs", 999: "1 µs", 1500: "1.5 µs", 999_400: "999 µs", 999_500: "1 ms", 1_234_000: "1.23 ms", 12_340_000: "12.3 ms", 999_400_000: "999 ms", 999_700_000: "1 s",
		1500 * time.Millisecond: "1.5 s", 90 * time.Second: "1m30s", -time.Millisecond: "-1 ms",
	} {
		if got := duration(d); got != want {
			t.Errorf("%d ns: found %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 1234: "1.23 kB", 999_600: "1 MB", 64 << 20: "67.1 MB", 1 << 62: "4612 PB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes: found %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("%d: found %q, want %q", n, got, want)
		}
	}
	for text, want := range map[string]string{"short": "short", "exactly10!": "exactly10!", "more than 10": "more than…", "\x1b[31m": `\x1b[31m`, "é\u202eé": `é\u202eé`, "": ""} {
		if got := short(10, text); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}
