// Package e2e runs the built binary and the built image under the programs
// that call them in the field, each at its real version:
//
//	                      ┌─ pipe ─────────────────┐
//	apps ──▶ manifests ──▶├─ kustomize build ──────┤──▶ tapedeck ──▶ checks: what is injected,
//	shop,                 ├─ kpt fn render | eval ─┤    (exec or     what is not, results, comments,
//	bookinfo, …           └─ Helm 3, Helm 4 ───────┘   container)    same bytes twice
//
// TestDocs runs the commands that the pages of the documentation show, and compares what
// they print with the pages.
//
// It is a module of its own so that nothing it needs enters the dependency
// graph of the users' module. The programs are built from source by package
// tools; what can't be had on a machine (kpt, a Docker engine, the corpus)
// skips its tests, each with a sentence that says so.
package e2e
