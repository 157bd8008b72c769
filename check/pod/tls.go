package pod

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/oneline"
	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/status"
)

// outcomes are the outcomes of TLS that need attention, the most serious first. The outcomes of
// a row mean the same.
var outcomes = []struct {
	direction string
	are       []intercept.Outcome
	state     check.State
	found     string
	fix       func(*seen) string
}{
	{"OUT", []intercept.Outcome{intercept.Refused, intercept.PassedDistrust}, check.Problem,
		"a client does not trust the sidecar's CA, or pins certificates; after the first refusal its calls to that host pass untouched, and are not recorded in the clear", (*seen).trustFix},
	{"OUT", []intercept.Outcome{intercept.Unverified}, check.Problem,
		"the sidecar can't verify a server's certificate, and the client gets a TLS alert",
		fixed("put the root that signed it into a Secret, and name the Secret in the option upstreamCASecret")},
	{"OUT", []intercept.Outcome{intercept.PassedNoCA}, check.Problem,
		"the CA has expired, or is not valid yet: TLS passes untouched", (*seen).caFix},
	{"OUT", []intercept.Outcome{intercept.PassedClientCert}, check.Partly,
		"a server asks for a client certificate, so its TLS passes untouched",
		fixed("give the sidecar that certificate with the annotation " + contract.SidecarPrefix + "tls-mutual-secret")},
	{"OUT", []intercept.Outcome{intercept.PassedClientTLS}, check.Partly,
		"a client offers no TLS that the sidecar can answer, so it passes untouched",
		fixed("let the client offer TLS 1.2 or later with ECDHE-ECDSA cipher suites, or leave it")},
	{"OUT", []intercept.Outcome{intercept.PassedUpstreamTLS}, check.Partly,
		"the handshake with a server failed, so its TLS passes untouched",
		fixed("check whether the client can talk to that server at all; if it can, no change is needed")},
	{"OUT", []intercept.Outcome{intercept.BadName}, check.Partly,
		"a client asks for a name that no host can have, and is rejected",
		fixed("fix the host's name in the application: letters, digits, -, . and _ are allowed")},
	{"IN", []intercept.Outcome{intercept.PassedNoCert}, check.Problem,
		"the certificate for inbound TLS can't be read, so TLS passes untouched",
		fixed("fix the Secret that the annotation " + contract.SidecarPrefix + "tls-in-secret names")},
	{"IN", []intercept.Outcome{intercept.PassedClientCert, intercept.PassedOtherName, intercept.PassedUpstreamTLS, intercept.PassedClientTLS}, check.Partly,
		"inbound TLS passes untouched where the application would not work otherwise",
		fixed("give the sidecar the certificate that the application shows, or leave out the annotation " + contract.SidecarPrefix + "tls-in-secret")},
}

func fixed(text string) func(*seen) string { return func(*seen) string { return text } }

// trustFix explains how to make an application trust the CA.
func (s *seen) trustFix() string {
	dir := path.Dir(contract.CABundle)
	if s.status != nil && s.status.TLS != nil && s.status.TLS.Trust != "" {
		dir = oneline.Text(s.status.TLS.Trust, maxQuoted)
	}
	in := func(file string) string { return path.Join(dir, path.Base(file)) }
	return causes(fmt.Sprintf("point the client at %s (SSL_CERT_FILE and others; Node.js: NODE_EXTRA_CA_CERTS=%s), and restart the pod: a host that was refused once is let through until then", in(contract.CABundle), in(contract.CACert)),
		"Java reads no variable: set the annotation "+contract.SidecarPrefix+"tls-java-tool-options",
		"the container sets such a variable itself, or the client has its own roots: remove the variable, or set the annotation "+contract.SidecarPrefix+"mount-known-ca",
		"the client pins certificates: no change helps; only sizes and times of its calls are recorded",
		"docs/trust-variables.md has the variable of each runtime")
}

// caFix explains how to make a CA.
func (s *seen) caFix() string {
	namespace, _ := s.names()
	return fmt.Sprintf("make one with `tapedeck ca --output ca.yaml && kubectl apply -n %s -f ca.yaml`, unless cert-manager does, and restart the pod", namespace)
}

// caNotice is how long before the end of a CA the check warns.
const caNotice = 14 * 24 * time.Hour

func (s *seen) tls() (all []finding) {
	if s.status != nil && s.status.Outbound != nil {
		all = append(append(all, s.ca()...), s.trustFiles()...)
	}
	const name = "tapedeck_tls_connections_total"
	_, counted := s.metrics.sum(name)
	if !counted && s.status == nil {
		all = append(all, finding{check.Unknown, "an older sidecar doesn't count the outcomes of TLS; /connections shows it for the last five minutes", older})
		return append(all, s.caEnd()...)
	}
	bad := map[string]bool{} // by direction
	for _, row := range outcomes {
		c := count{ok: true}
		for _, o := range row.are {
			one := s.count(name, "direction", row.direction, "outcome", string(o))
			c.all, c.now = c.all+one.all, c.now+one.now
		}
		if s.recent(c) == 0 {
			continue
		}
		bad[row.direction] = true
		found := fmt.Sprintf("%s: %s", row.found, s.times(c, "connection"))
		if hosts := s.noted(row.direction, row.are); hosts != "" {
			found += ": " + hosts
		}
		all = append(all, finding{row.state, found, row.fix(s)})
	}
	for _, direction := range []struct{ label, name, fix string }{
		{"OUT", "outbound", "have the application call a host with https, and check again"},
		{"IN", "inbound", "send a request with TLS, and check again"},
	} {
		clear := s.count(name, "direction", direction.label, "outcome", string(intercept.Intercepted))
		switch {
		case !clear.ok:
		case s.recent(clear) > 0:
			all = append(all, finding{check.OK, direction.name + " TLS is read, and its clients trust the certificate: " + s.times(clear, "connection"), ""})
		case !bad[direction.label]:
			all = append(all, finding{check.Unknown, "no " + direction.name + " TLS was seen: " + s.times(clear, "connection"), direction.fix})
		}
	}
	return append(all, s.caEnd()...)
}

// ca judges whether outbound TLS can be decrypted.
func (s *seen) ca() []finding {
	t := s.status.TLS
	switch {
	case t == nil:
		return []finding{{check.LeftOut, "outbound TLS is not decrypted, so only sizes and times of https are recorded", "set the annotation " + contract.SidecarPrefix + `tls-out to "true", and make a CA with ` + "`tapedeck ca`"}}
	case t.CA == status.CAMissing:
		return []finding{{check.Problem, "there is no CA in " + oneline.Text(t.Directory, maxQuoted) + ", so outbound TLS passes untouched", s.caFix()}}
	case t.CA == status.CAInvalid:
		return []finding{{check.Problem, "the CA can't be used, so outbound TLS passes untouched: " + oneline.Text(t.Error, status.MaxText), s.caFix()}}
	case t.CA != status.CAGood:
		return []finding{{check.Unknown, "the state of the CA is " + oneline.Text(t.CA, maxQuoted) + ", which this check doesn't know", "check with the sidecar's release of tapedeck"}}
	}
	return nil
}

// trustFiles judges whether the trust files exist that the application's variables name.
func (s *seen) trustFiles() []finding {
	t := s.status.TLS
	if t == nil || t.TrustError == "" {
		return nil
	}
	return []finding{{check.Problem, "the files that make the application trust the CA are not written, so a program whose variables name them trusts nobody: " + oneline.Text(t.TrustError, status.MaxText),
		"fix the volume that is mounted at " + oneline.Text(t.Trust, maxQuoted) + ", and restart the pod"}}
}

// caEnd warns of a CA that will expire.
func (s *seen) caEnd() []finding {
	end, ok := s.metrics.sum("tapedeck_ca_expiry_timestamp_seconds")
	if !ok {
		return nil
	}
	now := time.Now()
	if s.status != nil {
		now = s.status.Time
	}
	left := time.Unix(int64(end), 0).Sub(now)
	if left <= 0 && s.status == nil { // otherwise the CA's state reports it
		return []finding{{check.Problem, "the CA has expired: outbound TLS passes untouched", s.caFix()}}
	}
	if left > 0 && left < caNotice {
		return []finding{{check.Partly, fmt.Sprintf("the CA expires in %s; from then on outbound TLS passes untouched", span(left)), s.caFix()}}
	}
	return nil
}

// noted lists the hosts that had these outcomes, with the errors that their peers sent.
func (s *seen) noted(direction string, are []intercept.Outcome) string {
	if s.status == nil {
		return ""
	}
	var hosts []string
	for _, n := range slices.Backward(s.status.Notes) { // the newest first
		if n.Direction != direction || !slices.Contains(are, intercept.Outcome(n.Outcome)) {
			continue
		}
		host := n.Host
		if host == "" {
			host = "a client without SNI"
		}
		if n.Error != "" {
			host += " (" + n.Error + ")"
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return list(hosts)
}
