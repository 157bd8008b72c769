package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"github.com/tapedeck/tapedeck/proxy/ca"
)

// newCACommand makes the CA that outbound interception needs.
func newCACommand() *cobra.Command {
	var flags caFlags
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make the CA for outbound TLS, as a Secret or a cert-manager Certificate",
		Long: `Makes the CA whose certificates the sidecar shows to the application when
sidecar.speedscale.com/tls-out is "true".

By default it makes a Secret, with a new key, in a file that nobody else can
read; it goes to standard output only when --output is "-". Apply it in every
namespace with workloads that use tls-out, and keep it out of git.

With --cert-manager it makes an Issuer and a Certificate instead, which hold no
secret: cert-manager makes the key in the cluster, and renews the CA when a third
of its life is left.

A running sidecar keeps the CA that it started with, because the running
application trusts the bundle that it has loaded. To replace a CA, apply the new
Secret, and then restart the pods before the old CA expires. From then on a
sidecar with the old CA passes TLS through untouched.`,
		Example: `  tapedeck ca --output ca.yaml && kubectl apply -n shop -f ca.yaml
  tapedeck ca --output - | kubeseal > sealed.yaml
  tapedeck ca --cert-manager | kubectl apply -n shop -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVarP(&flags.output, "output", "o", "", "`file` to write, which must not exist yet; \"-\" is standard output")
	f.StringVar(&flags.name, "name", "speedscale-certs", "name of the Secret")
	f.StringVarP(&flags.namespace, "namespace", "n", "", "namespace of the Secret; none is written by default")
	f.StringVar(&flags.subject, "common-name", "Tapedeck", "common name of the CA")
	f.DurationVar(&flags.validity, "validity", validity, "how long the CA is valid")
	f.BoolVar(&flags.certManager, "cert-manager", false, "make a cert-manager Issuer and Certificate, without a key")
	return cmd
}

type caFlags struct {
	output, name, namespace, subject string
	validity                         time.Duration
	certManager                      bool
}

const (
	// validity is how long a CA is valid unless a flag says otherwise.
	validity = 365 * 24 * time.Hour
	// leastManaged is the shortest validity that cert-manager accepts.
	leastManaged = time.Hour
	// renewalPart is the part of its life that a CA has left when cert-manager
	// renews it: pods have that long to be restarted.
	renewalPart = 3
)

// issuerSuffix turns the Certificate's name into the Issuer's.
const issuerSuffix = "-issuer"

// label is a DNS label (RFC 1123). The name of a Kubernetes object is one label or,
// for some kinds, several with dots in between.
var (
	label     = `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
	labels    = regexp.MustCompile(`^` + label + `(\.` + label + `)*$`)
	justLabel = regexp.MustCompile(`^` + label + `$`)
)

// check rejects names that Kubernetes would refuse, or that YAML would read as something else.
func (f *caFlags) check() error {
	for _, c := range []struct {
		flag, value string
		form        *regexp.Regexp
		limit       int
		want        string
	}{
		{"--name", f.name, labels, 253 - len(issuerSuffix), "lower-case letters, digits, - and ., which begins and ends with a letter or digit"},
		{"--namespace", f.namespace, justLabel, 63, "lower-case letters, digits and -, which begins and ends with a letter or digit"},
	} {
		if c.value == "" && c.flag == "--namespace" {
			continue // none is written
		}
		if !c.form.MatchString(c.value) || len(c.value) > c.limit {
			return fmt.Errorf("%s %q: want a DNS name (RFC 1123) of at most %d %s", c.flag, c.value, c.limit, c.want)
		}
	}
	return nil
}

func (f *caFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.validity <= 0 {
		return fmt.Errorf("--validity %v: want a duration above zero, such as 8760h", f.validity)
	}
	if f.certManager && f.validity < leastManaged {
		return fmt.Errorf("--validity %v: cert-manager accepts %v at least", f.validity, leastManaged)
	}
	if f.certManager {
		return f.write(cmd, f.certificate())
	}
	if f.output == "" {
		return errors.New("the Secret holds a private key: say where it goes, with --output FILE, or --output - for standard output")
	}
	cert, key, err := ca.Generate(f.subject, time.Now(), f.validity)
	if err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	return f.write(cmd, f.secret(cert, key))
}

// write writes to standard output, or to a new file that only its owner can read.
func (f *caFlags) write(cmd *cobra.Command, text string) error {
	if f.output == "-" || f.output == "" {
		_, err := fmt.Fprint(cmd.OutOrStdout(), text)
		return err
	}
	file, err := os.OpenFile(f.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already, and its CA may be in use: remove it first, or choose another --output", f.output)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

func (f *caFlags) metadata(name string) string {
	if f.namespace == "" {
		return fmt.Sprintf("metadata:\n  name: %q\n", name) // quoted: it may look like a number
	}
	return fmt.Sprintf("metadata:\n  name: %q\n  namespace: %q\n", name, f.namespace)
}

func (f *caFlags) secret(cert, key []byte) string {
	return "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\n" + f.metadata(f.name) +
		"data:\n  tls.crt: " + base64.StdEncoding.EncodeToString(cert) +
		"\n  tls.key: " + base64.StdEncoding.EncodeToString(key) + "\n"
}

func (f *caFlags) certificate() string {
	issuer := f.name + issuerSuffix
	return "apiVersion: cert-manager.io/v1\nkind: Issuer\n" + f.metadata(issuer) +
		"spec:\n  selfSigned: {}\n---\napiVersion: cert-manager.io/v1\nkind: Certificate\n" + f.metadata(f.name) +
		fmt.Sprintf(`spec:
  isCA: true
  commonName: %q
  secretName: %q
  duration: %s
  renewBefore: %s
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Never
  issuerRef:
    name: %q
    kind: Issuer
    group: cert-manager.io
`, f.subject, f.name, f.validity, (f.validity/renewalPart).Truncate(time.Second), issuer)
}
