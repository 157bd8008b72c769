// Package goal judges the goals of a replay, such as `latency.p95 > 100`, `GET /users/{id}:
// latency.p95 > 100` for one endpoint, or `*: latency.p50 > recorded + 20ms`, which compares
// each endpoint with the recording. A goal is missed if its condition is true.
//
// It promises:
//
//   - A goal that cannot be judged never passes. If its value is not available, or its endpoint
//     got no request, the verdict is Unknown, with a reason.
//   - Every metric is one row of [Metrics]. Package contract has the names, which a render also
//     uses to check goals.
//
// It imports the standard library and package contract.
package goal
