package contract

import (
	"errors"
	"net/url"
	"strconv"
)

// ProxyPorts returns the proxy schemes that the sidecar supports, with their default ports.
func ProxyPorts() map[string]int {
	return map[string]int{"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
}

// ParseProxy reads the value of a proxy variable, as Go and curl do: a URL, or HOST[:PORT] for an HTTP
// proxy. The error does not quote the value, which may contain a password.
func ParseProxy(value string) (*url.URL, error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" || u.Host == "" {
		u, err = url.Parse("http://" + value)
	}
	allowed := errors.New("it is not a proxy URL; allowed: http://, https://, socks5:// or socks5h:// with a host and optionally a port")
	switch {
	case err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, allowed
	case ProxyPorts()[u.Scheme] == 0:
		return nil, allowed
	case u.Port() != "":
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
			return nil, allowed
		}
	}
	return u, nil
}
