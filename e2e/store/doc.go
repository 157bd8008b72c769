// Package store tests the stores of recording/place against servers that speak the real protocols.
// It is a separate module, so that these servers stay out of the users' dependency graph.
//
//	s3_test.go           versitygw, which serves a directory as S3
//	gcs_test.go          fake-gcs-server
//	azure_test.go        a fake of the calls that Tapedeck makes: no maintained emulator of
//	                     Azure's store is written in Go
//	credentials_test.go  the ways in which pods and laptops get credentials
//	errors_test.go       the messages of errors
//	broken_test.go       connections that break
package store
