package plainhttp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// Refuse tells a client that its CONNECT request is rejected, gives it time to read the answer,
// and returns reason.
func Refuse(client *pump.Conn, status int, reason error) error {
	return refuse(client, http.MethodConnect, status, reason)
}

// refuse is Refuse for a request with any method.
func refuse(client *pump.Conn, method string, status int, reason error) error {
	body := "tapedeck: " + reason.Error() + "\n"
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\nProxy-Status: tapedeck\r\n",
		status, http.StatusText(status), len(body))
	var unauthorized *upstream.ProxyAuthError
	if errors.As(reason, &unauthorized) {
		for _, challenge := range unauthorized.Challenges {
			fmt.Fprintf(&b, "Proxy-Authenticate: %s\r\n", challenge)
		}
	}
	b.WriteString("\r\n")
	if method != http.MethodHead {
		b.WriteString(body)
	}
	_ = client.SetDeadline(time.Now().Add(linger))
	_, _ = client.Write(b.Bytes())
	lingerClose(client)
	return reason
}

// lingerClose half-closes the connection to a client, and continues to read for a moment.
// Closing it with unread bytes would reset the connection, and the client might lose the
// answer.
func lingerClose(client *pump.Conn) {
	_ = client.CloseWrite()
	_ = client.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.CopyN(io.Discard, client, lingerBytes)
}

// Established tells a client that its tunnel is open.
func Established(client *pump.Conn) error {
	_, err := client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	return err
}

// DialStatus returns the HTTP status for a failed dial.
func DialStatus(err error) int {
	var unauthorized *upstream.ProxyAuthError
	switch {
	case errors.Is(err, upstream.ErrSelf):
		return http.StatusLoopDetected
	case errors.Is(err, upstream.ErrLoopback), errors.Is(err, upstream.ErrMetadata):
		return http.StatusForbidden
	case errors.As(err, &unauthorized):
		return http.StatusProxyAuthRequired
	case upstream.TimedOut(err):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
