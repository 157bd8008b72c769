package fn

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/fn/splice"
	"github.com/tapedeck/tapedeck/internal/nodes"
	"github.com/tapedeck/tapedeck/transformer"
)

// Render renders manifests. It edits those that request capture, adds the objects that they need, and
// returns everything. It renders all sources together, because a Service in one source determines the
// ports of a workload in another.
//
// A source whose only document is a ResourceList is the input of a KRM function
// (https://github.com/kubernetes-sigs/kustomize/blob/master/cmd/config/docs/api-conventions/functions-spec.md).
// Render reads its functionConfig on top of cfg, and writes the results into it. Any other source is a
// stream of YAML or JSON documents.
//
// If the results have an error, the output for a stream is nil, and the output for a ResourceList is
// its input with the results. The returned error is for problems that no user can fix.
func Render(sources []Source, cfg transformer.Config) ([]byte, transformer.Results, error) {
	return run(sources, cfg, transformer.Render, false)
}

// Uninject undoes what Render did, and returns the former input. It reads and writes like Render.
func Uninject(sources []Source) ([]byte, transformer.Results, error) {
	return run(sources, transformer.DefaultConfig(), func(objects []*transformer.Object, _ transformer.Config) transformer.Output {
		return transformer.Uninject(objects)
	}, true)
}

type transform func([]*transformer.Object, transformer.Config) transformer.Output

// loaded is parsed input, with the configuration that applies to it.
type loaded struct {
	docs    []*document
	list    *document // the ResourceList; nil if the input is a stream
	objects []*transformer.Object
	cfg     transformer.Config
	results transformer.Results // the results of reading
}

func load(sources []Source, cfg transformer.Config, undo bool) loaded {
	docs, results := readAll(sources, undo)
	list, mixed := resourceList(docs)
	results = append(results, mixed...)
	if list != nil && !results.Failed() {
		var wrong []fieldError
		cfg, wrong = withFunctionConfig(cfg, nodes.At(list.want, "functionConfig"))
		for _, w := range wrong {
			r := transformer.NewResult(transformer.CodeInvalidConfig, transformer.File{}, "functionConfig %s: %v", w.path, w.err).At(w.path, "", "")
			ref := (&transformer.Object{Node: nodes.At(list.want, "functionConfig")}).Ref()
			r.ResourceRef = &ref
			results = append(results, r)
		}
	}
	if err := cfg.Validate(); err != nil {
		results = append(results, transformer.NewResult(transformer.CodeInvalidConfig, transformer.File{}, "%v", err))
	}
	var objects []*transformer.Object
	for _, d := range docs {
		objects = append(objects, d.objects...)
	}
	return loaded{docs, list, objects, cfg, results}
}

func run(sources []Source, cfg transformer.Config, apply transform, undo bool) ([]byte, transformer.Results, error) {
	in := load(sources, cfg, undo)
	docs, list, objects, results := in.docs, in.list, in.objects, in.results
	if results.Failed() {
		return failed(docs, list, transformer.NotWritten(objects, results))
	}
	results = append(results, misplacedConfigs(objects)...)
	out := apply(objects, in.cfg)
	results = append(results, out.Results...)
	results = append(results, mark(docs, out)...)
	if hooksUnseen(docs) {
		results = append(results, transformer.NewResult(transformer.CodeHelmHooks, transformer.File{}, "%s", transformer.Reasons()[transformer.CodeHelmHooks].Sentence))
	}
	results = results.Gather()
	if results.Failed() {
		return failed(docs, list, results)
	}
	if list != nil {
		setResults(list, results)
	}
	text, reformatted, err := write(docs, !undo || len(sources) > 1)
	return text, append(results, reformatted...), err
}

// doings maps the codes of results that say what a render did to the words for that, and to the words
// for what it would have done.
var doings = map[transformer.Code]struct{ does, would string }{
	transformer.CodeInjected:       {"injected", "it would have been injected"},
	transformer.CodeReplayRendered: {"replayed", "it would have been replayed"},
}

// failed returns the output if nothing may change: for a KRM function its input with the results, and
// for a stream nothing.
func failed(docs []*document, list *document, results transformer.Results) ([]byte, transformer.Results, error) {
	results = slices.Clone(results)
	for i, r := range results {
		if said, done := doings[r.Code()]; done {
			results[i].Tags = map[string]string{"code": string(transformer.CodeNotWritten)}
			results[i].Message = "not written, because other objects have errors; fix them; " + strings.Replace(r.Message, said.does, said.would, 1)
		}
	}
	if list == nil {
		return nil, results, nil
	}
	want, err := splice.Expand(list.have)
	if err != nil {
		return nil, results, err
	}
	untouched := &document{text: list.text, have: list.have, want: want, file: list.file}
	setResults(untouched, results)
	docs = slices.Clone(docs)
	docs[slices.Index(docs, list)] = untouched
	text, more, err := write(docs, false)
	return text, append(results, more...), err
}

// mark records in the documents what the transformer did to their objects.
func mark(docs []*document, out transformer.Output) transformer.Results {
	home := map[*transformer.Object]*document{}
	for _, d := range docs {
		for _, o := range d.objects {
			home[o] = d
		}
	}
	for _, o := range out.Edited {
		home[o].edited = true
	}
	for _, o := range out.Deleted {
		d := home[o]
		if d.items == nil {
			d.deleted = true
			continue
		}
		d.edited = true
		removeItem(d.items, o.Node)
	}
	taken := paths(docs)
	for _, c := range out.Created {
		d := home[c.Beside]
		if kind := nodes.StringAt(d.want, "kind"); d.items == nil || kind != "List" && kind != "ResourceList" {
			d.after = append(d.after, c.Node) // a DeploymentList may have only Deployments
			continue
		}
		d.edited = true
		place(c, taken)
		d.items.Content = append(d.items.Content, c.Node)
	}
	var results transformer.Results
	for _, d := range docs {
		if !d.deleted {
			results = append(results, d.duplicates()...)
		}
	}
	return results
}

func removeItem(items, gone *yaml.Node) {
	for i, n := range items.Content {
		if n == gone {
			items.Content = append(items.Content[:i], items.Content[i+1:]...)
			return
		}
	}
}

// hooksUnseen reports whether the input comes from Helm 3: it has Helm's comments, but neither hooks nor
// the annotation that Helm 4 adds to every document.
func hooksUnseen(docs []*document) bool {
	helm := false
	for _, d := range docs {
		helm = helm || helmSource(d.text) != ""
		for _, o := range d.objects {
			if annotation(o.Node, helmFilename) != "" || annotation(o.Node, helmHook) != "" {
				return false
			}
		}
	}
	return helm
}

// each calls f for every document, on all processors, and returns the errors. Documents are
// independent, and reading and writing them is most of a render's work.
func each(docs []*document, f func(*document) error) []error {
	errs := make([]error, len(docs))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(docs), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(docs)); i = next.Add(1) - 1 {
				errs[i] = f(docs[i])
			}
		})
	}
	wg.Wait()
	return errs
}
