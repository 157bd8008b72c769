// Package e2e runs the built binary and the built image under the programs that call them in
// production, each at its real version:
//
//	                      ┌─ pipe ─────────────────┐
//	apps ──▶ manifests ──▶├─ kustomize build ──────┤──▶ tapedeck ──▶ checks: what is injected,
//	shop,                 ├─ kpt fn render | eval ─┤    (exec or     what is not, results, comments,
//	bookinfo, …           └─ Helm 3, Helm 4 ───────┘   container)    same bytes twice
//
// TestDocs runs the commands that the pages of the documentation show, and compares what
// they print with the pages.
//
// It is a separate module, so that its requirements are not in the dependency graph of the users'
// module. Package tools builds the programs from source. Tests of programs that a machine can't
// have (kpt, a Docker engine, the corpus) skip, each with a sentence that says so.
package e2e
