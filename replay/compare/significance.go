package compare

import "math"

// significance bounds the probability that exceeds returns a false positive.
const significance = 0.01

// exceeds reports whether apart is significantly larger than noise, by Fisher's exact test, one-sided.
// apart and noise each count answers that differ, out of n; those in noise differ by themselves. If
// noise is 0, one answer is enough.
func exceeds(apart, noise, n int64) bool {
	if noise == 0 {
		return apart > 0
	}
	if apart <= noise || n == 0 {
		return false
	}
	return fisher(apart, n-apart, noise, n-noise) < significance
}

// fisher returns the probability that a table with the same sums has at least a in its first
// cell, by the hypergeometric distribution.
//
//	a b
//	c d
func fisher(a, b, c, d int64) float64 {
	b, d = max(b, 0), max(d, 0)
	p := 0.0
	for b >= 0 && c >= 0 {
		p += math.Exp(choose(a+b, a) + choose(c+d, c) - choose(a+b+c+d, a+c))
		if b == 0 || c == 0 {
			break
		}
		a, b, c, d = a+1, b-1, c-1, d+1
	}
	return min(p, 1)
}

// choose returns the logarithm of the binomial coefficient.
func choose(n, k int64) float64 {
	lg := func(n int64) float64 { v, _ := math.Lgamma(float64(n) + 1); return v }
	return lg(n) - lg(k) - lg(n-k)
}
