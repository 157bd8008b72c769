package transformer

import (
	"fmt"
	"sort"
)

// Severity ranks a result, in the words of the KRM function specification.
type Severity string

// Severities. An error fails the render and leaves the input as it was.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Result says what happened to one object. Its fields are those of a result
// in a ResourceList (the KRM functions specification of kustomize).
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

// String writes the reference as kubectl does, with the namespace in front.
func (r ResourceRef) String() string {
	s := r.Kind + "/" + r.Name
	if r.Namespace != "" {
		s = r.Namespace + "/" + s
	}
	return s
}

// Field names a field, with what was found and what would do.
type Field struct {
	Path          string `json:"path" yaml:"path"`
	CurrentValue  string `json:"currentValue,omitempty" yaml:"currentValue,omitempty"`
	ProposedValue string `json:"proposedValue,omitempty" yaml:"proposedValue,omitempty"`
}

// File names where an object stands: a path, and the index of the document
// in it.
type File struct {
	Path  string `json:"path,omitempty" yaml:"path,omitempty"`
	Index int    `json:"index,omitempty" yaml:"index,omitempty"`
}

// place says where an object stands, for people.
func (f File) place() string {
	document := fmt.Sprintf("document %d", f.Index+1)
	if f.Path == "" {
		return document
	}
	return f.Path + ", " + document
}

// Code returns the result's reason code.
func (r Result) Code() Code { return Code(r.Tags["code"]) }

// Results are all that a render has to say.
type Results []Result

// Failed tells whether any result is an error.
func (rs Results) Failed() bool {
	for _, r := range rs {
		if r.Severity == Error {
			return true
		}
	}
	return false
}

// ease makes warnings of all errors, but for unknown annotations: where strict
// makes errors of those, inject itself may be what is misspelt.
func (rs Results) ease() {
	for i := range rs {
		if rs[i].Severity == Error && rs[i].Code() != CodeUnknownAnnotation {
			rs[i].Severity = Warning
		}
	}
}

// Count returns how many results have a severity.
func (rs Results) Count(s Severity) int {
	n := 0
	for _, r := range rs {
		if r.Severity == s {
			n++
		}
	}
	return n
}

// result builds a result from its reason: the severity comes from the table
// of reasons, the message from the caller.
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

// NewResult builds a result about a file rather than an object, for those who
// read and write objects.
func NewResult(code Code, file File, message string, args ...any) Result {
	r := result(code, nil, message, args...)
	if file.Path != "" || file.Index != 0 {
		r.File = &file
	}
	return r
}

// At adds the field that a result is about, what was found there and what
// would do.
func (r Result) At(path, current, proposed string) Result {
	r.Field = &Field{Path: path, CurrentValue: current, ProposedValue: proposed}
	return r
}

// ifStrict makes an error of a result in strict mode.
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
