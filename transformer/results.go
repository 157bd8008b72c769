package transformer

import (
	"fmt"
	"sort"
)

// Severity ranks a result. Its values come from the KRM function specification.
type Severity string

// These are the severities. An error fails the render and leaves the input unchanged.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Result says what happened to one object. It has the fields of a result in a ResourceList (the KRM
// functions specification of kustomize).
type Result struct {
	Message     string            `json:"message" yaml:"message"`
	Severity    Severity          `json:"severity" yaml:"severity"`
	ResourceRef *ResourceRef      `json:"resourceRef,omitempty" yaml:"resourceRef,omitempty"`
	Field       *Field            `json:"field,omitempty" yaml:"field,omitempty"`
	File        *File             `json:"file,omitempty" yaml:"file,omitempty"`
	Tags        map[string]string `json:"tags,omitempty" yaml:"tags,omitempty"`
}

// ResourceRef names an object.
type ResourceRef struct {
	APIVersion string `json:"apiVersion" yaml:"apiVersion"`
	Kind       string `json:"kind" yaml:"kind"`
	Name       string `json:"name" yaml:"name"`
	Namespace  string `json:"namespace,omitempty" yaml:"namespace,omitempty"`
}

// String returns the reference as kubectl writes it, after the namespace if it has one.
func (r ResourceRef) String() string {
	s := r.Kind + "/" + r.Name
	if r.Namespace != "" {
		s = r.Namespace + "/" + s
	}
	return s
}

// Field names a field, with the value that was found and a proposed one.
type Field struct {
	Path          string `json:"path" yaml:"path"`
	CurrentValue  string `json:"currentValue,omitempty" yaml:"currentValue,omitempty"`
	ProposedValue string `json:"proposedValue,omitempty" yaml:"proposedValue,omitempty"`
}

// File says where an object is: a path, and the index of the document in the file.
type File struct {
	Path  string `json:"path,omitempty" yaml:"path,omitempty"`
	Index int    `json:"index,omitempty" yaml:"index,omitempty"`
}

// place describes the place of an object for messages.
func (f File) place() string {
	document := fmt.Sprintf("document %d", f.Index+1)
	if f.Path == "" {
		return document
	}
	return f.Path + ", " + document
}

// Code returns the result's reason code.
func (r Result) Code() Code { return Code(r.Tags["code"]) }

// Results has everything that a render reports.
type Results []Result

// Failed reports whether any result is an error.
func (rs Results) Failed() bool {
	for _, r := range rs {
		if r.Severity == Error {
			return true
		}
	}
	return false
}

// ease turns errors into warnings, except for unknown annotations, which are errors in strict mode: the
// misspelled annotation may be inject itself.
func (rs Results) ease() {
	for i := range rs {
		if rs[i].Severity == Error && rs[i].Code() != CodeUnknownAnnotation {
			rs[i].Severity = Warning
		}
	}
}

// Count returns the number of results with a severity.
func (rs Results) Count(s Severity) int {
	n := 0
	for _, r := range rs {
		if r.Severity == s {
			n++
		}
	}
	return n
}

// result builds a result for a reason. The table of reasons sets the severity, and the caller the
// message.
func result(code Code, obj *Object, message string, args ...any) Result {
	reason := reasons[code]
	r := Result{
		Severity: reason.Severity,
		Message:  fmt.Sprintf(message, args...),
		Tags:     map[string]string{"code": string(code)},
	}
	if obj != nil {
		ref := obj.Ref()
		r.ResourceRef = &ref
		if obj.File.Path != "" || obj.File.Index != 0 {
			file := obj.File
			r.File = &file
		}
	}
	return r
}

// NewResult builds a result about a file rather than an object, for packages that read and write
// objects.
func NewResult(code Code, file File, message string, args ...any) Result {
	r := result(code, nil, message, args...)
	if file.Path != "" || file.Index != 0 {
		r.File = &file
	}
	return r
}

// At adds the field that a result is about, its value and a proposed value.
func (r Result) At(path, current, proposed string) Result {
	r.Field = &Field{Path: path, CurrentValue: current, ProposedValue: proposed}
	return r
}

// ifStrict turns a result into an error in strict mode.
func (r Result) ifStrict(cfg *Config) Result {
	if cfg.Strict {
		r.Severity = Error
	}
	return r
}

// sortedKeys returns a map's keys in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
