// Package wiremock reads WireMock's stub mappings as answers of a dependency.
//
// A mapping can match many requests, but an exchange has exactly one. So a matcher for an exact value becomes
// that value. A pattern becomes its text, and is reported as a loss. Bodies are read only from files in the
// folder __files.
//
// The times of exchanges order them by priority, also across files, and within a priority by their position
// in the file.
//
// It imports recording, convert/internal/web and the standard library.
package wiremock
