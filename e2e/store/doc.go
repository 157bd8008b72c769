// Package store tests the stores of recording/place against servers that speak the
// real protocols. It is a module of its own, so that what they need stays out of the
// users' dependency graph.
//
//	s3_test.go           versitygw, a gateway to S3 in front of a directory
//	gcs_test.go          fake-gcs-server
//	azure_test.go        a fake of the calls that are used: no emulator of Azure's store
//	                     that is kept up to date is written in Go
//	credentials_test.go  the ways by which pods and laptops come by credentials
//	errors_test.go       what is said where something is wrong
//	broken_test.go       connections that break
package store
