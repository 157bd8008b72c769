// Package endpoints finds the hosts and ports that the value of an environment variable
// names. It knows the usual forms:
//
//	postgres.db:5432                      a host and a port, or several
//	https://api.stripe.com/v1             a URL, or several; the scheme has a default port
//	jdbc:mysql://db-0,db-1/shop           JDBC, R2DBC and SQLAlchemy
//	shop:secret@tcp(mysql:3306)/shop      a DSN of Go's MySQL driver
//	host=postgres port=5432 dbname=shop   a libpq connection string
//	Server=tcp:mssql,1433;Database=shop   an ADO.NET connection string
//
// It promises:
//
//   - It never returns as a host what may be part of a password.
//   - Its work is bounded by the length of the value.
//   - No reason contains part of the value.
//
// It does not look up names. It imports package contract and the standard library.
package endpoints
