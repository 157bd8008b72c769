package fn

import (
	"bytes"

	"github.com/tapedeck/tapedeck/transformer"
)

// Inspection says what a render of manifests would capture.
type Inspection struct {
	// Config is the configuration that applies, including that of a ResourceList's functionConfig.
	Config transformer.Config
	// Captures has each workload, in the order of the input. It is empty if the input can't be read,
	// or an earlier render can't be undone.
	Captures []transformer.Capture
	// Results are the results of a render, separate for each object: they are not merged.
	Results transformer.Results
	// Stale has the places of workloads with the sidecar of an earlier render whose documents would
	// change if they were rendered now.
	Stale map[transformer.File]bool
}

// Inspect renders manifests as Render does, and returns what is captured instead of writing them. The
// error is for problems that no user can fix.
func Inspect(sources []Source, cfg transformer.Config) (Inspection, error) {
	in := load(sources, cfg, false)
	if in.results.Failed() {
		return Inspection{Config: in.cfg, Results: transformer.NotWritten(in.objects, in.results)}, nil
	}
	out, captures := transformer.Captures(in.objects, in.cfg)
	results := append(in.results, misplacedConfigs(in.objects)...)
	results = append(append(results, out.Results...), mark(in.docs, out)...)
	i := Inspection{Config: in.cfg, Captures: captures, Results: results}
	if results.Failed() {
		return i, nil
	}
	rendered := map[transformer.File]bool{}
	for _, c := range captures {
		if c.Rendered && c.Injected {
			rendered[c.File] = true
		}
	}
	if len(rendered) == 0 {
		return i, nil
	}
	homes := make([][]transformer.File, len(in.docs)) // of the rendered workloads in each document
	for at, d := range in.docs {
		for _, o := range d.objects {
			if rendered[o.File] {
				homes[at] = append(homes[at], o.File)
			}
		}
	}
	i.Stale = map[transformer.File]bool{}
	if _, _, err := write(in.docs, true); err != nil {
		return Inspection{}, err
	}
	for at, d := range in.docs {
		if bytes.Equal(d.text, d.stood) && len(d.after) == 0 {
			continue
		}
		for _, file := range homes[at] {
			i.Stale[file] = true
		}
	}
	return i, nil
}
