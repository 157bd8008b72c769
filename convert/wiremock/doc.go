// Package wiremock reads WireMock's stub mappings, as answers that a dependency gave.
//
// A mapping says which requests it answers; an exchange has one. So what demands an exact
// value becomes that value, and a pattern becomes its text, which is named as a loss. Bodies in
// files of the folder __files are read from there, and from nowhere else.
//
// Exchanges have times that put those of a higher priority first, across files too, and those of one
// priority in the order of the file.
//
// It imports recording and the standard library.
package wiremock
