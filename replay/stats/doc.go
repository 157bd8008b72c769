// Package stats measures a replay: how long requests took, how many succeeded, and how
// both changed over time.
//
//	worker ─Sample─▶ Local ┐
//	worker ─Sample─▶ Local ┼─▶ Run ─▶ Result ─▶ report
//	worker ─Sample─▶ Local ┘   │         └──── Result of another shard: Merge
//	                           └─▶ Live, once a second
//
// It promises:
//
//   - A percentile is the smallest sample whose rank is at least ceil(q·n). It is exact
//     below [ExactBelow] samples and at most 0.1% too high above. It is not available if
//     the sample is too small to have it.
//   - A result depends on the samples alone: not on their order, on who recorded them, or
//     on how they were divided among workers and shards. So results merge exactly.
//   - Memory does not grow with the number of samples.
//
// It imports the standard library and HdrHistogram.
package stats
