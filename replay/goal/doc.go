// Package goal says what a replay has to reach: `latency.p95 > 100`, or of one endpoint
// `GET /users/{id}: latency.p95 > 100`. A goal is missed if its condition is true.
//
// It promises:
//
//   - A goal that cannot be judged never passes: one on a value that is not available, or
//     on an endpoint that got no request, is an error that says so.
//   - Every metric is one row of [Metrics]; package contract has the names, by which a render
//     checks goals, too.
//
// It imports the standard library and package contract.
package goal
