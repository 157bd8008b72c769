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
//     there are too few samples.
//   - A result depends only on the samples, not on their order or on how they were divided
//     among workers and shards. Therefore results merge exactly.
//   - Memory does not grow with the number of samples.
//
// It imports the standard library and HdrHistogram.
package stats
