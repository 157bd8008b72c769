//go:build !unix

package wire

import "net"

func (cn *conn) prepare(*net.TCPConn) {}

// alive tells whether the other side has not closed an idle connection, which is not known
// here.
func (cn *conn) alive() bool { return true }
