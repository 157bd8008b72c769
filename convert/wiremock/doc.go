// Package wiremock reads WireMock's stub mappings as answers of a dependency.
//
// A mapping can match many requests, and an exchange has exactly one. So a matcher for an exact value becomes
// that value. A pattern becomes its text, and is named as a loss. Bodies are read only from files in the
// folder __files.
//
// Exchanges have times that put those of a higher priority first, across files too, and those of one
// priority in the order of the file.
//
// It imports recording, convert/internal/web and the standard library.
package wiremock
