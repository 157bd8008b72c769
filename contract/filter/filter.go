// Package filter decides which exchanges are captured. Its settings come from
// annotations, the sidecar's environment and a ConfigMap. The renderer checks them
// with the same code that the sidecar applies them with.
//
//	include, exclude ─▶ rules ─┐
//	sample ──────────▶ rate ───┼─▶ Filter ─▶ Keeps(exchange), Samples(trace)
//	capture ─────────▶ on, off ┘
//
// It promises:
//
//   - A rule takes time linear in its input (regular expressions are RE2).
//   - If one sidecar keeps a trace, so does every sidecar with the same or a higher rate.
//   - An error names the setting, the rule, what was found and what is allowed.
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

// Exchange has the properties of a request that rules match.
type Exchange struct {
	// In is true if the workload received the request, and false if it made the request.
	In bool
	// Host is the host as the client sent it. Path has no query. Path and Method are
	// empty if the protocol is not HTTP.
	Host, Path, Method string
	// Header returns the values of a header. It is nil if there are no headers.
	Header func(name string) iter.Seq[string]
}

// Filter applies the settings. A nil Filter keeps everything.
type Filter struct {
	off              bool
	include, exclude []rule
	rate             rate
}

// Key is one setting. Its name is a key of the ConfigMap, and ends the names of an
// annotation and of an environment variable.
type Key struct {
	// Name is the name of the key.
	Name string
	// Default is the value if none is set.
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
	{"exclude", "", rulesAllowed, "Leave out exchanges that one of these rules matches, even if `include` matches them.",
		func(f *Filter, v string) (err error) { f.exclude, err = parseRules(v); return err }},
	{"sample", "1", "a rate from 0 to 1, such as 0.1, or 0% to 100%", "Share of the traces to capture. Every sidecar captures a trace as a whole or not at all.",
		func(f *Filter, v string) (err error) { f.rate, err = parseRate(v); return err }},
}

// Keys returns the table of settings.
func Keys() []Key { return keys }

// maxText is the maximum size of a setting, in bytes.
const maxText = 32 << 10

// KeyOf returns the row of the table with the name.
func KeyOf(name string) Key {
	return keys[slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })]
}

// Check returns an error that says what is wrong with a value of the key.
func (k Key) Check(value string) error {
	_, err := Parse(map[string]string{k.Name: value})
	var wrong *Error
	if errors.As(err, &wrong) {
		return wrong.Err
	}
	return err
}

// Error reports an invalid setting.
type Error struct {
	// Key is the name of the setting, and Found its value.
	Key, Found string
	// Err says what is wrong with the value.
	Err error
	// Allowed says what is allowed instead.
	Allowed string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: found %q (%v), allowed: %s", e.Key, short(e.Found), e.Err, e.Allowed)
}

func (e *Error) Unwrap() error { return e.Err }

// short shortens text so that it doesn't flood a log.
func short(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// byteOrderMark begins files that some editors write. A ConfigMap made from such a file keeps it.
const byteOrderMark = "\ufeff"

// Parse reads settings by key. Missing settings have their defaults. An unknown key is
// an error, because otherwise nobody would notice a typo.
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

// On reports whether capture is on.
func (f *Filter) On() bool { return f == nil || !f.off }

// All reports whether every exchange is kept while capture is on.
func (f *Filter) All() bool {
	return f == nil || len(f.include) == 0 && len(f.exclude) == 0 && f.rate.all
}

// KeepsNone reports whether the settings certainly exclude every exchange of a direction: capture is
// off, the rate is 0, or the rules match none. If it returns false, they may still exclude every
// exchange, because it doesn't analyse regular expressions.
func (f *Filter) KeepsNone(in bool) bool {
	if f == nil {
		return false
	}
	never := func(r rule) bool { return r.never(in) }
	always := func(r rule) bool { return r.always(in) }
	return f.off || !f.Samples(0) ||
		len(f.include) > 0 && !slices.ContainsFunc(f.include, func(r rule) bool { return !never(r) }) || slices.ContainsFunc(f.exclude, always)
}

// Keeps reports whether the rules keep an exchange.
func (f *Filter) Keeps(x *Exchange) bool {
	if f == nil {
		return true
	}
	matches := func(r rule) bool { return r.matches(x) }
	return (len(f.include) == 0 || slices.ContainsFunc(f.include, matches)) && !slices.ContainsFunc(f.exclude, matches)
}
