package redact

import (
	"fmt"
	"strings"
	"testing"
)

func TestCards(t *testing.T) {
	for _, text := range strings.Split(strings.TrimSpace(`
4111111111111111
4111 1111 1111 1111
4111-1111-1111-1111
4222222222222
5555555555554444
2223003122003222
378282246310005
3782 822463 10005
3782-822463-10005
6011111111111117
3530111333300000
30569309025904
3056 930902 5904
36227206271667
6200000000000005
6304000000000000
card 4111111111111111 was declined
(4111 1111 1111 1111)
a=4111111111111111&b
"4111111111111111"
%B4111111111111111^DOE/J^25121011
/4111111111111111/
no. 17 4111 1111 1111 1111
x,4111111111111111.
4111111111111111, 5555555555554444
`), "\n") {
		if got := cards(nil, text); len(got) == 0 || strings.Contains(text, ", 5") != (len(got) == 2) {
			t.Errorf("%s: found %v", text, got)
		}
	}
	for _, text := range strings.Split(strings.TrimSpace(`
4111111111111112
41111111111111111
411111111111111
1732305300123
1732305300123456
1732305300123456789
20261122201500
2026-11-22 20:15:00
00000000000000000000
0000000000000000
0.4111111111111111
3.4111111111111111
4111111111111111.5
a4111111111111111
4111111111111111f
id_4111111111111111
4111111111111111_1
+4111111111111111
12-4111111111111111
4111 11111111 1111
4111 1111-1111 1111
4111 1111 1111 1111 1111
4006381333931
5b1c0a6e-4111-1111-1111-111111111111
41111111-1111-1111-1111-111111111111
+49 4111 1111 1111
9999999999999995
`), "\n") {
		if got := cards(nil, text); len(got) > 0 {
			t.Errorf("%s: found %q", text, text[got[0].from:got[0].to])
		}
	}
}

// Few numbers that are not cards look like cards.
func TestFewNumbersLookLikeCards(t *testing.T) {
	for name, c := range map[string]struct {
		format string
		step   int
		most   int // of 10,000
	}{
		"milliseconds":        {"17323%08d", 7919, 0},
		"microseconds":        {"17323%011d", 7919, 0},
		"nanoseconds":         {"17323%014d", 7919, 0},
		"articles of Germany": {"40063%08d", 7919, 1000},
		"ids of 16 digits":    {"%016d", 1234567890123, 400},
		"ids of 18 digits":    {"%018d", 123456789012345, 200},
	} {
		n := 0
		for i := range 10_000 {
			if card(fmt.Sprintf(c.format, i*c.step)) > 0 {
				n++
			}
		}
		if n > c.most {
			t.Errorf("%s: %d of 10,000 look like cards, want at most %d", name, n, c.most)
		}
	}
}
