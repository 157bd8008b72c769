package compare

import "math"

// significance is the probability of an error of the first kind that exceeds takes.
const significance = 0.01

// exceeds tells whether apart answers of n are more than what chance gives, if noise of n
// differ by themselves: Fisher's exact test, one-sided, with significance. Without
// noise, one is enough.
func exceeds(apart, noise, n int64) bool {
	if noise == 0 {
		return apart > 0
	}
	if apart <= noise || n == 0 {
		return false
	}
	return fisher(apart, n-apart, noise, n-noise) < significance
}

// fisher is the probability that a table of two rows with the same sums has at least a in
// its first field: that of the hypergeometric distribution.
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

// choose is the logarithm of the binomial coefficient.
func choose(n, k int64) float64 {
	lg := func(n int64) float64 { v, _ := math.Lgamma(float64(n) + 1); return v }
	return lg(n) - lg(k) - lg(n-k)
}
