// Package fn is how manifests come in and go out: a ResourceList of a KRM
// function (kustomize, kpt), or a YAML stream (Helm, kubectl, a file).
//
//	bytes ──▶ documents ──▶ objects ──▶ transformer ──▶ objects ──▶ splice ──▶ bytes
//	             │                                                    ▲
//	             └──────────── text that is not edited ───────────────┘
//
// It promises that a line of the input that is not edited comes out byte for
// byte, that input it can't read or must not change produces results and no
// half-written output, and that Uninject gives back what Render was given. Inspect
// goes the same way, and says what is captured instead of writing.
//
// It may import the transformer and fn/splice, and nothing of the runtime.
package fn
