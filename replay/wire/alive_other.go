//go:build !unix

package wire

import "net"

func (cn *conn) prepare(*net.TCPConn) {}

// alive always returns true, because this system can't show whether the other side has closed an
// idle connection.
func (cn *conn) alive() bool { return true }
