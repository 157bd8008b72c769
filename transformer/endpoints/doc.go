// Package endpoints finds the hosts, and the ports at them, that the value of an
// environment variable names, in the forms in which programs are told where to connect to:
//
//	postgres.db:5432                      a host and a port, or several
//	https://api.stripe.com/v1             a URL, or several; the port by the scheme
//	jdbc:mysql://db-0,db-1/shop           JDBC, R2DBC and SQLAlchemy
//	shop:secret@tcp(mysql:3306)/shop      a DSN of Go's MySQL driver
//	host=postgres port=5432 dbname=shop   one of libpq
//	Server=tcp:mssql,1433;Database=shop   one of ADO.NET
//
// It promises to take nothing for a host that may be a part of a password, to bound its
// work by the value's length, and that no reason has a part of the value. It looks no
// name up, and imports package contract and the standard library.
package endpoints
