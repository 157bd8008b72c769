package place

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"regexp"

	"github.com/tapedeck/tapedeck/internal/oneline"
	"github.com/tapedeck/tapedeck/recording/store"
)

// problem is the kind of a store's error.
type problem int

const (
	other problem = iota
	inUse
	absent
	noBucket
	denied
	noCredentials
	badCredentials
	wrongRegion
	unreachable
	readOnly
	full
)

// diagnosis is a problem and the store's message about it.
type diagnosis struct {
	problem problem
	// words is the store's message, without secrets; "" means the message of the error.
	words string
	// region is where the bucket really is, if the store says so.
	region string
}

// advice says what went wrong and what to do.
func (b *bucket) advice(op string, d diagnosis) string {
	switch d.problem {
	case inUse:
		return "the key is in use"
	case absent:
		return "there is no such object"
	case noBucket:
		kind := "bucket"
		if b.place.Scheme == "azblob" {
			kind = "container"
		}
		return fmt.Sprintf("there is no %s %s: create it, or correct the name or the settings of the place", kind, b.place.Host)
	case denied:
		r := b.place.Kind().Rights
		advice := "access denied: grant " + map[string]string{"put": r.Put, "get": r.Get, "list": r.List, "delete": r.Delete}[op]
		if b.place.Scheme == "s3" && op == "get" {
			advice += "; without s3:ListBucket, S3 gives this answer for a missing object, too"
		}
		return advice
	case noCredentials:
		return "no credentials: a place has none; they come from " + b.place.Kind().Credentials
	case badCredentials:
		return "the store does not accept the credentials: they may be wrong or expired, or the clock may be wrong; they come from " + b.place.Kind().Credentials
	case wrongRegion:
		if d.region != "" {
			return fmt.Sprintf("the bucket is in another region: set region=%s in the place", d.region)
		}
		return "the bucket is in another region: set region in the place"
	case full:
		return "the store has no room"
	case unreachable:
		return "the store cannot be reached: check the names and the endpoint in the place, the network, and the proxy if there is one"
	}
	return ""
}

// kinds maps problems to errors of the standard library.
var kinds = map[problem]error{
	inUse: fs.ErrExist, absent: fs.ErrNotExist,
	denied: fs.ErrPermission, readOnly: fs.ErrPermission, full: store.ErrFull, noCredentials: fs.ErrPermission, badCredentials: fs.ErrPermission,
}

// failure replaces an error's message, because the libraries' messages are long and may have signed
// URLs.
type failure struct {
	text   string
	causes []error
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.causes }

// failed returns an error that wraps err and names the operation, the key, the problem, and what to
// do.
func (b *bucket) failed(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	at := b.place
	if key != "" {
		at = at.Join(key)
	}
	f := &failure{text: op + " " + at.String() + ": ", causes: []error{err}}
	if ended := ctx.Err(); ended != nil {
		f.text += ended.Error()
		f.causes = append(f.causes, ended)
		return f
	}
	d := b.diagnose(op, err)
	if kind := kinds[d.problem]; kind != nil {
		f.causes = append(f.causes, kind)
	}
	words := bounded(d.words)
	if words == "" {
		words = plain(err)
	}
	if advice := b.advice(op, d); advice != "" {
		words = advice + " (" + words + ")"
	}
	f.text += words
	return f
}

func (b *bucket) diagnose(op string, err error) diagnosis {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return diagnosis{problem: noCredentials}
	}
	if b.driver != nil {
		if d := b.driver.diagnose(op, err); d.problem != other || d.words != "" {
			return d
		}
	}
	if isNetwork(err) {
		return diagnosis{problem: unreachable}
	}
	return diagnosis{}
}

// isNetwork reports whether a connection failed or broke.
func isNetwork(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// urls matches URLs in an error, which may be signed.
var urls = regexp.MustCompile(`(https?://)([^\s"'?@]*@)?([^\s"'?]*)(\?[^\s"']*)?`)

// plain returns an error's message without secrets in its URLs.
func plain(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the rest of the message repeats the request
	}
	return bounded(urls.ReplaceAllString(err.Error(), "$1$3"))
}

// maxWords limits a store's message in an error, in bytes.
const maxWords = 500

// bounded turns a text into one line of limited length.
func bounded(text string) string { return oneline.Text(text, maxWords) }
