// Package fn reads and writes manifests: a ResourceList of a KRM function (kustomize, kpt), or a YAML
// stream (Helm, kubectl, a file).
//
//	bytes ──▶ documents ──▶ objects ──▶ transformer ──▶ objects ──▶ splice ──▶ bytes
//	             │                                                    ▲
//	             └──────────── text that is not edited ───────────────┘
//
// It promises that it writes lines that are not edited byte for byte. Input that it can't read or must
// not change produces results, and never partial output. Uninject returns the input of Render. Inspect
// follows the same path, and returns what is captured instead of writing.
//
// It may import the transformer and fn/splice, and nothing of the runtime.
package fn
