// Package filter decides which exchanges are captured. Its settings are written
// in annotations, in the sidecar's environment and in a ConfigMap; the renderer
// checks them with the code by which the sidecar obeys them.
//
//	include, exclude ─▶ rules ─┐
//	sample ──────────▶ rate ───┼─▶ Filter ─▶ Keeps(exchange), Samples(trace)
//	capture ─────────▶ on, off ┘
//
// It promises that a rule takes time linear in what it looks at (regular
// expressions are RE2), that a trace which one sidecar keeps is kept by every
// sidecar with the same rate or a higher one, and that an error names the
// setting, the rule, what was found and what is allowed.
//
// The package imports only the standard library.
package filter

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Exchange is what a rule may ask about a request.
type Exchange struct {
	// In: it came to the workload; or else the workload made it.
	In bool
	// Host as the client sent it, Path without the query. Path and Method are
	// empty where the protocol is not HTTP.
	Host, Path, Method string
	// Header returns the values of a header; nil: there are none.
	Header func(name string) iter.Seq[string]
}

// Filter is what the settings say. A nil Filter keeps everything.
type Filter struct {
	off              bool
	include, exclude []rule
	rate             rate
}

// Key is one setting: a key of the ConfigMap, and the end of the names of an
// annotation and of an environment variable.
type Key struct {
	// Name of the key.
	Name string
	// Default is the value where nothing is set.
	Default string
	// Allowed completes the sentence "allowed: …".
	Allowed string
	// Doc says what the setting does.
	Doc string

	set func(*Filter, string) error
}

const rulesAllowed = `rules such as "in path=/healthz,/readyz; out host=*.internal method=GET", of the terms in, out, host, path, method and header.NAME, with = or != (* stands for anything), ~ or !~ (RE2)`

var keys = []Key{
	{"capture", "on", "on or off", "`off` captures nothing; traffic passes as before.",
		func(f *Filter, v string) error {
			f.off = v == "off"
			if v != "on" && v != "off" {
				return errors.New("neither on nor off")
			}
			return nil
		}},
	{"include", "", rulesAllowed, "Capture only exchanges that one of these rules matches; empty: all.",
		func(f *Filter, v string) (err error) { f.include, err = parseRules(v); return err }},
	{"exclude", "", rulesAllowed, "Leave out exchanges that one of these rules matches, whatever `include` says.",
		func(f *Filter, v string) (err error) { f.exclude, err = parseRules(v); return err }},
	{"sample", "1", "a rate from 0 to 1, such as 0.1, or 0% to 100%", "Which part of the traces to capture: of one trace everything is kept, in every sidecar, or nothing.",
		func(f *Filter, v string) (err error) { f.rate, err = parseRate(v); return err }},
}

// Keys returns the table of settings.
func Keys() []Key { return keys }

// maxText bounds a setting.
const maxText = 32 << 10

// KeyOf returns the row of the table with that name.
func KeyOf(name string) Key {
	return keys[slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })]
}

// Check says what is wrong with a value of the key, or nil.
func (k Key) Check(value string) error {
	_, err := Parse(map[string]string{k.Name: value})
	var wrong *Error
	if errors.As(err, &wrong) {
		return wrong.Err
	}
	return err
}

// Error is a setting that can't be obeyed.
type Error struct {
	// Key of the setting, and the value.
	Key, Found string
	// Err says what is wrong with it.
	Err error
	// Allowed is what is allowed instead.
	Allowed string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: found %q (%v), allowed: %s", e.Key, short(e.Found), e.Err, e.Allowed)
}

func (e *Error) Unwrap() error { return e.Err }

// short keeps a log from being flooded with what it reports.
func short(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// byteOrderMark begins a file that some editors wrote, from which a ConfigMap was made.
const byteOrderMark = "\ufeff"

// Parse reads settings by key. Those that are missing have their defaults; a key
// that is none is an error, for a typing error would never be seen.
func Parse(values map[string]string) (*Filter, error) {
	f := new(Filter)
	var errs []error
	for _, k := range keys {
		v, ok := values[k.Name]
		if v = strings.TrimSpace(strings.TrimPrefix(v, byteOrderMark)); !ok || v == "" {
			v = k.Default
		}
		err := error(nil)
		if len(v) > maxText {
			err = fmt.Errorf("%d bytes, which is more than %d", len(v), maxText)
		} else {
			err = k.set(f, v)
		}
		if err != nil {
			errs = append(errs, &Error{k.Name, v, err, k.Allowed})
		}
	}
	for name := range values {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) {
			errs = append(errs, fmt.Errorf("found key %q, allowed: %s", short(name), strings.Join(names(), ", ")))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return f, nil
}

func names() (all []string) {
	for _, k := range keys {
		all = append(all, k.Name)
	}
	return all
}

// On tells whether anything is to be captured.
func (f *Filter) On() bool { return f == nil || !f.off }

// All tells that every exchange is kept while capture is on.
func (f *Filter) All() bool {
	return f == nil || len(f.include) == 0 && len(f.exclude) == 0 && f.rate.all
}

// KeepsNone reports that the settings leave out every exchange of a direction: capture is off, the
// rate is 0, or the rules leave no room. false doesn't promise that one is kept, because regular
// expressions are not looked into.
func (f *Filter) KeepsNone(in bool) bool {
	if f == nil {
		return false
	}
	never := func(r rule) bool { return r.never(in) }
	always := func(r rule) bool { return r.always(in) }
	return f.off || !f.Samples(0) ||
		len(f.include) > 0 && !slices.ContainsFunc(f.include, func(r rule) bool { return !never(r) }) || slices.ContainsFunc(f.exclude, always)
}

// Keeps tells whether the rules keep an exchange.
func (f *Filter) Keeps(x *Exchange) bool {
	if f == nil {
		return true
	}
	matches := func(r rule) bool { return r.matches(x) }
	return (len(f.include) == 0 || slices.ContainsFunc(f.include, matches)) && !slices.ContainsFunc(f.exclude, matches)
}
