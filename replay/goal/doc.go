// Package goal judges the goals of a replay, such as `latency.p95 > 100`, `GET /users/{id}:
// latency.p95 > 100` for one endpoint, or `*: latency.p50 > recorded + 20ms`, which compares
// each endpoint with the recording. A goal is missed if its condition is true.
//
// It promises:
//
//   - A goal that cannot be judged never passes: one on a value that is not available, or
//     on an endpoint that got no request, has the verdict Unknown, and a reason.
//   - Every metric is one row of [Metrics]; package contract has the names, by which a render
//     also checks goals.
//
// It imports the standard library and package contract.
package goal
