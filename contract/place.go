package contract

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Place is a location of recordings and snapshots. The same grammar applies everywhere
// ([PlaceSchemes]):
//
//	recordings/shop                              a directory
//	file:///var/lib/tapedeck                     the same, as a URL
//	s3://bucket/prefix?region=eu-central-1       objects in a bucket, below a prefix
//	gs://bucket/prefix
//	azblob://container/prefix?storage_account=a
//	https://collector.speedscale:8443            a collector
//
// Places are comparable with ==. A place never contains credentials: [ParsePlace] rejects them.
type Place struct {
	// Scheme is the name of a [PlaceScheme]; "file" for a directory.
	Scheme string
	// Host is the bucket or the container, or the host[:port] of a collector; "" for a directory.
	Host string
	// Path is the directory, or the prefix of every key in the bucket, without a slash at either end.
	// "" means the whole bucket.
	Path string

	settings string // encoded, sorted by name
}

// PlaceScheme is a kind of place.
type PlaceScheme struct {
	// Name is the scheme before "://".
	Name string
	// Form is an example of a place of this kind.
	Form string
	// Doc says what the place is.
	Doc string
	// Credentials says where the credentials come from, because a place contains none.
	Credentials string
	// Rights are the rights that a client of the store needs to put, get, list and delete objects; nil
	// if the store has no named rights.
	Rights *PlaceRights
	// Settings may follow the path as a query. Each may occur once.
	Settings []PlaceSetting

	kind placeKind
}

// PlaceRights names rights with the vendor's names.
type PlaceRights struct{ Put, Get, List, Delete string }

// PlaceSetting is a parameter in the query of a place.
type PlaceSetting struct {
	// Name is the parameter's name.
	Name string
	// Allowed describes the values.
	Allowed string
	// Doc says what the setting does, and what applies without it.
	Doc string

	check func(string) bool
}

type placeKind int

const (
	directory placeKind = iota
	bucket
	collector
)

// PlaceSchemes lists the kinds of places.
func PlaceSchemes() []PlaceScheme {
	endpoint := func(doc string) PlaceSetting {
		return PlaceSetting{Name: "endpoint", Allowed: "`http://` or `https://` with a host", Doc: doc, check: isEndpoint}
	}
	return []PlaceScheme{
		{Name: "file", Form: "file:///directory", kind: directory,
			Doc: "A directory. A path without a scheme is one, too, and may be relative.", Credentials: "none"},
		{Name: "s3", Form: "s3://bucket/prefix", kind: bucket,
			Doc:         "Amazon S3, or another store that speaks its protocol.",
			Credentials: "the AWS SDK's own: environment, ~/.aws with SSO, EKS (IRSA, pod identity), ECS, EC2",
			Rights:      &PlaceRights{Put: "s3:PutObject", Get: "s3:GetObject", List: "s3:ListBucket", Delete: "s3:DeleteObject"},
			Settings: []PlaceSetting{
				{Name: "region", Allowed: "a region, such as `eu-central-1`", Doc: "Region of the bucket. Default: AWS's own configuration; `us-east-1` with `endpoint`.", check: isName},
				{Name: "profile", Allowed: "a profile's name", Doc: "Profile in ~/.aws. Default: AWS_PROFILE, else `default`.", check: isName},
				endpoint("Address of a store other than Amazon's, such as MinIO, Ceph, R2 or versitygw."),
				{Name: "use_path_style", Allowed: "`true` or `false`", Doc: "Put the bucket into the URL's path instead of the host's name. Default: `true` with `endpoint`, else `false`.", check: isBool},
				{Name: "ssetype", Allowed: "`AES256`, `aws:kms` or `aws:kms:dsse`", Doc: "Server-side encryption to ask for. Default: the bucket's.", check: oneOf("AES256", "aws:kms", "aws:kms:dsse")},
				{Name: "kmskeyid", Allowed: "id, alias or ARN of a key", Doc: "KMS key to encrypt with. Default: the bucket's.", check: isName},
			}},
		{Name: "gs", Form: "gs://bucket/prefix", kind: bucket,
			Doc:         "Google Cloud Storage.",
			Credentials: "Google's application default credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud, workload identity (GKE or federated), metadata server",
			Rights:      &PlaceRights{Put: "storage.objects.create", Get: "storage.objects.get", List: "storage.objects.list", Delete: "storage.objects.delete"},
			Settings: []PlaceSetting{
				endpoint("Address of the service, for Private Service Connect or an emulator. No credentials are sent over `http://`. Default: STORAGE_EMULATOR_HOST, else Google's."),
			}},
		{Name: "azblob", Form: "azblob://container/prefix", kind: bucket,
			Doc:         "Azure Blob Storage.",
			Credentials: "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, else Azure's default chain: environment, workload identity, managed identity, az and azd",
			Rights:      &PlaceRights{Put: "Storage Blob Data Contributor", Get: "Storage Blob Data Reader", List: "Storage Blob Data Reader", Delete: "Storage Blob Data Contributor"},
			Settings: []PlaceSetting{
				{Name: "storage_account", Allowed: "3 to 24 lower-case letters and digits", Doc: "Account that the container belongs to. Default: AZURE_STORAGE_ACCOUNT.", check: isStorageAccount},
				endpoint("Address of the account's blobs, for other clouds, a private endpoint or an emulator. Default: `https://ACCOUNT.blob.core.windows.net`."),
			}},
		{Name: "http", Form: "http://collector:port", kind: collector, Doc: "Recordings that a collector serves on its loopback: `kubectl port-forward` brings it to `http://localhost:4311`. Commands can read from a collector, but not write to it. As a sink, it is where a sidecar sends segments.", Credentials: "none; whoever may forward the port may read"},
		{Name: "https", Form: "https://collector:port", kind: collector, Doc: "The same with TLS.", Credentials: "none"},
	}
}

// ParsePlace reads a place. The error says what is allowed. It does not quote text that may be a
// secret.
func ParsePlace(text string) (Place, error) {
	p, err := parsePlace(text)
	if err != nil {
		return Place{}, fmt.Errorf("place %s: %w", quotePlace(text), err)
	}
	return p, nil
}

// ParseDirectory reads a place that must be a directory. It returns the path.
func ParseDirectory(text string) (string, error) {
	if scheme, _, isURL := strings.Cut(text, "://"); isURL && isScheme(scheme) && !strings.EqualFold(scheme, "file") {
		return "", fmt.Errorf("place %s: want file:///directory, or a path without a scheme", quotePlace(text))
	}
	p, err := ParsePlace(text)
	return p.Path, err
}

func parsePlace(text string) (Place, error) {
	if text == "" {
		return Place{}, errors.New("empty; allowed: " + allowedForms())
	}
	if strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text) {
		return Place{}, errors.New("a control character, or bytes that are not UTF-8; allowed: " + allowedForms())
	}
	name, rest, isURL := strings.Cut(text, ":")
	scheme, known := findScheme(strings.ToLower(name))
	switch {
	case !isURL || !isScheme(name) || !known && !strings.HasPrefix(rest, "//"):
		return Place{Scheme: "file", Path: filepath.Clean(text)}, nil
	case !known:
		return Place{}, fmt.Errorf("unknown scheme %q; allowed: %s", name, allowedForms())
	case !strings.HasPrefix(rest, "//"):
		return Place{}, fmt.Errorf("no // after %q; want %s, or ./%s: for a directory of that name", name+":", scheme.Form, name)
	}

	// url.Parse alone is not enough. Its errors quote passwords. If a password contains a slash, as
	// AWS's do, url.Parse does not recognize it.
	rest, query, _ := strings.Cut(rest[len("//"):], "?")
	host, path, _ := strings.Cut(rest, "/")
	if strings.Contains(host, "@") || strings.Contains(host, ":") && strings.Contains(path, "@") {
		return Place{}, errors.New("a user or a password; take them out: " + scheme.whereCredentials())
	}
	if strings.Contains(text, "#") {
		return Place{}, errors.New(`a "#"; write %23 for one in a name`)
	}
	path, err := url.PathUnescape(path)
	if err != nil {
		return Place{}, errors.New(`a "%" without two hexadecimal digits; write %25 for the sign itself`)
	}
	if strings.ContainsFunc(path, unicode.IsControl) || !utf8.ValidString(path) {
		return Place{}, errors.New("an escaped control character, or escaped bytes that are not UTF-8")
	}
	p := Place{Scheme: scheme.Name, Host: host, Path: strings.TrimSuffix(path, "/")}
	switch scheme.kind {
	case directory:
		if host != "" && host != "localhost" {
			return Place{}, errors.New("a host; a directory has none: want file:///directory, or a path without a scheme")
		}
		p.Host, p.Path = "", filepath.Clean("/"+path)
	case bucket:
		if !isBucket(host) {
			return Place{}, fmt.Errorf("not a bucket or container name, which has 3 to 222 letters, digits, dots, dashes and underscores; want %s", scheme.Form)
		}
	case collector:
		if !isAuthority(host) {
			return Place{}, fmt.Errorf("no host, or a wrong host or port; want %s", scheme.Form)
		}
		p.Host = strings.ToLower(host)
	}
	if p.Path != "" && scheme.kind != directory {
		if err := CheckObjectKey(p.Path); err != nil {
			return Place{}, err
		}
	}
	if p.settings, err = scheme.parseSettings(query); err != nil {
		return Place{}, err
	}
	return p, nil
}

// whereCredentials says where to put credentials instead of into a place.
func (s PlaceScheme) whereCredentials() string {
	if s.Credentials == "none" {
		return "such a place needs no credentials"
	}
	return "credentials come from " + s.Credentials
}

func (s PlaceScheme) parseSettings(query string) (string, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", errors.New("a malformed query; want NAME=VALUE&NAME=VALUE, with % and two hexadecimal digits for odd characters")
	}
	names := make([]string, len(s.Settings))
	for i, setting := range s.Settings {
		names[i] = setting.Name
	}
	allowed := "allowed for " + s.Name + ": " + strings.Join(names, ", ")
	if len(names) == 0 {
		allowed = s.Name + " has no settings"
	}
	for name, v := range values {
		i := slices.Index(names, name)
		switch {
		case i < 0 && isSecretName(name):
			return "", errors.New("a setting that looks like a credential; take it out: " + s.whereCredentials())
		case i < 0 && !isSettingName(name):
			return "", errors.New("a setting without a proper name; " + allowed)
		case i < 0:
			return "", fmt.Errorf("unknown setting %q; %s", name, allowed)
		case len(v) > 1:
			return "", fmt.Errorf("setting %q is given %d times; want it once", name, len(v))
		case !s.Settings[i].check(v[0]):
			return "", fmt.Errorf("wrong value of the setting %q; allowed: %s", name, s.Settings[i].Allowed)
		case name == "endpoint": // so that equal endpoints have equal texts
			values.Set(name, strings.TrimSuffix(v[0], "/"))
		}
	}
	// A query may contain these unescaped (RFC 3986 section 3.4), and endpoints do.
	return strings.NewReplacer("%3A", ":", "%2F", "/").Replace(values.Encode()), nil
}

// String returns the place in canonical form. [ParsePlace] reads it as the same place. A directory is
// written as a path.
func (p Place) String() string {
	if p.Scheme == "file" {
		if name, _, isURL := strings.Cut(p.Path, ":"); isURL && isScheme(name) {
			return "./" + p.Path // otherwise it would be read as a URL
		}
		return p.Path
	}
	u := url.URL{Scheme: p.Scheme, Host: p.Host, RawQuery: p.settings}
	if p.Path != "" {
		u.Path = "/" + p.Path
	}
	return u.String()
}

// Setting returns the value of a setting; "" if the place does not have it.
func (p Place) Setting(name string) string {
	values, _ := url.ParseQuery(p.settings) // ParsePlace encoded it
	return values.Get(name)
}

// Kind returns the place's row of [PlaceSchemes].
func (p Place) Kind() PlaceScheme {
	s, _ := findScheme(p.Scheme)
	return s
}

// IsDir reports whether the place is a directory.
func (p Place) IsDir() bool { return p.Scheme == "file" }

// Join returns the place at a path below this one. The elements are elements of keys, as
// [CheckObjectKey] allows them.
func (p Place) Join(elements ...string) Place {
	if p.IsDir() {
		p.Path = filepath.Join(append([]string{p.Path}, elements...)...)
		return p
	}
	p.Path = strings.TrimPrefix(p.Path+"/"+strings.Join(elements, "/"), "/")
	return p
}

// Contains reports whether q is the same place as p or inside it. It compares only those settings that
// select another store. It follows links in the paths of directories.
func (p Place) Contains(q Place) bool {
	if p.Scheme != q.Scheme || p.Host != q.Host ||
		p.Setting("endpoint") != q.Setting("endpoint") || p.Setting("storage_account") != q.Setting("storage_account") {
		return false
	}
	outer, inner := p.Path, q.Path
	if p.IsDir() {
		outer, inner = realPath(outer), realPath(inner)
	}
	outer = strings.TrimSuffix(outer, "/")
	return outer == "" || inner == outer || strings.HasPrefix(inner, outer+"/")
}

// realPath makes a path absolute and follows its links, for the part that exists.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real
	}
	above := filepath.Dir(path)
	if above == path {
		return path
	}
	return filepath.Join(realPath(above), filepath.Base(path))
}

// MaxObjectKey is the maximum length of a key, in bytes. It is the limit of S3 and of Google Cloud
// Storage.
const MaxObjectKey = 1024

// CheckObjectKey rejects a key that some store does not keep unchanged. A key is one or more elements,
// separated by slashes. The rules are common to directories, S3, Google Cloud Storage and Azure, so
// that a recording can move between them:
//
//   - at most 1024 bytes, and 255 per element (file systems);
//   - UTF-8, printable, and no backslash;
//   - no element is empty, begins with a dot (hidden files, "." and ".."), or ends with
//     one (Azure removes it).
func CheckObjectKey(key string) error {
	if len(key) > MaxObjectKey {
		return fmt.Errorf("key of %d bytes: at most %d are allowed", len(key), MaxObjectKey)
	}
	if i := strings.IndexFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == '\\' || r == utf8.RuneError }); i >= 0 {
		return fmt.Errorf("key %q: a character at byte %d that not every store keeps; allowed are printable UTF-8 characters but the backslash", key, i)
	}
	for e := range strings.SplitSeq(key, "/") {
		switch {
		case e == "":
			return fmt.Errorf("key %q: an empty element; want names with one slash between them", key)
		case e[0] == '.' || e[len(e)-1] == '.':
			return fmt.Errorf("key %q: the element %q begins or ends with a dot, which not every store keeps", key, e)
		case len(e) > 255:
			return fmt.Errorf("key %q: an element of %d bytes; at most 255 are allowed", key, len(e))
		}
	}
	return nil
}

// SnapshotRef names a snapshot, and optionally its content.
type SnapshotRef struct {
	// Place is the place of the snapshot, which is at Place.Join(SnapshotsDir, ID). It is the zero
	// value if the reference is only an ID.
	Place Place
	// ID is a UUID in canonical form, in lower case.
	ID string
	// Digest is the SHA-256 that the snapshot must have, as 64 hexadecimal digits in lower case; "" if
	// the reference is not pinned.
	Digest string
}

// SnapshotsDir is the element before a snapshot's ID in a key.
const SnapshotsDir = "snapshots"

// ParseSnapshotRef reads a reference to a snapshot: ID or PLACE/snapshots/ID, each with an optional
// @sha256:DIGEST after the ID. Settings of the place come last:
//
//	s3://bucket/prefix/snapshots/0198a3f2-…@sha256:9f86d0…?region=eu-central-1
func ParseSnapshotRef(text string) (SnapshotRef, error) {
	if ref, err := parseSnapshotID(text); err == nil {
		return ref, nil
	}
	p, err := ParsePlace(text)
	if err != nil {
		return SnapshotRef{}, err
	}
	ref, ok, err := p.Snapshot()
	if err == nil && !ok {
		err = fmt.Errorf("snapshot %s: want ID, PLACE/%s/ID, or one of them with @sha256:DIGEST", quotePlace(text), SnapshotsDir)
	}
	return ref, err
}

// Snapshot reads the place as the place of one snapshot. It returns false for any other place. It
// returns an error if snapshots/ is not followed by an ID, or if the digest is malformed.
func (p Place) Snapshot() (SnapshotRef, bool, error) {
	root, last := cutLast(p.Path)
	root, dir := cutLast(root)
	if dir != SnapshotsDir || p.Scheme == "" {
		return SnapshotRef{}, false, nil
	}
	ref, err := parseSnapshotID(last)
	if err != nil {
		return SnapshotRef{}, false, fmt.Errorf("snapshot %s: %w", quotePlace(p.String()), err)
	}
	if p.IsDir() && root == "" {
		root = "."
		if strings.HasPrefix(p.Path, "/") {
			root = "/"
		}
	}
	p.Path = root
	ref.Place = p
	return ref, true, nil
}

// cutLast splits a path at its last slash. Without a slash, the whole path is the name.
func cutLast(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

func parseSnapshotID(text string) (SnapshotRef, error) {
	id, pin, pinned := strings.Cut(text, "@")
	if !isUUID(id) {
		return SnapshotRef{}, fmt.Errorf("%q is not a snapshot ID, which is a UUID in lower case, such as 6ba7b810-9dad-41d1-80b4-00c04fd430c8", id)
	}
	digest, ok := strings.CutPrefix(pin, "sha256:")
	if pinned && (!ok || len(digest) != 64 || !isHex(digest)) {
		return SnapshotRef{}, errors.New("the text after @ is not a digest; want sha256: and 64 hexadecimal digits in lower case")
	}
	return SnapshotRef{ID: id, Digest: digest}, nil
}

// String returns the reference in the form that [ParseSnapshotRef] reads.
func (r SnapshotRef) String() string {
	name := r.ID
	if r.Digest != "" {
		name += "@sha256:" + r.Digest
	}
	if r.Place == (Place{}) {
		return name
	}
	return r.Place.Join(SnapshotsDir, name).String()
}

// Dir returns the place of the snapshot's own objects.
func (r SnapshotRef) Dir() Place { return r.Place.Join(SnapshotsDir, r.ID) }

// quotePlace quotes a place for an error, without text that may be a secret: the text before an @ in a
// URL, and its settings.
func quotePlace(text string) string {
	name, rest, isURL := strings.Cut(text, ":")
	if !isURL || !isScheme(name) {
		return strconv.Quote(text)
	}
	bare := strings.TrimLeft(rest, "/")
	slashes := rest[:len(rest)-len(bare)]
	bare, query, hasQuery := strings.Cut(bare, "?")
	if i := strings.LastIndexByte(bare, '@'); i >= 0 {
		// A pinned snapshot has an @, too.
		if _, err := parseSnapshotID(bare[strings.LastIndexByte(bare, '/')+1:]); err != nil || strings.Contains(bare[:i], ":") {
			bare = "…" + bare[i:]
		}
	}
	if strings.Contains(query, "@") { // the password contained a question mark
		bare = "…"
	}
	if hasQuery {
		bare += "?…"
	}
	return strconv.Quote(name + ":" + slashes + bare)
}

func allowedForms() string {
	forms := []string{"a path"}
	for _, s := range PlaceSchemes() {
		forms = append(forms, s.Form)
	}
	return strings.Join(forms, ", ")
}

func findScheme(name string) (PlaceScheme, bool) {
	for _, s := range PlaceSchemes() {
		if s.Name == name {
			return s, true
		}
	}
	return PlaceScheme{}, false
}

// isScheme reports whether the text has the form of a URL's scheme (RFC 3986 section
// 3.1).
func isScheme(s string) bool {
	return s != "" && isLetter(s[0]) && only(s, func(c byte) bool { return isAlnum(c) || c == '+' || c == '-' || c == '.' })
}

func isBucket(s string) bool {
	return len(s) >= 3 && len(s) <= 222 && isAlnum(s[0]) && only(s, func(c byte) bool { return isAlnum(c) || c == '.' || c == '-' || c == '_' })
}

// isAuthority reports whether the text is HOST or HOST:PORT.
func isAuthority(s string) bool {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
		host = h
	} else if h, ok := strings.CutPrefix(s, "["); ok {
		host, ok = strings.CutSuffix(h, "]")
		if !ok || !strings.Contains(host, ":") {
			return false
		}
	} else if strings.Contains(s, ":") {
		return false
	}
	return host != "" && CheckHostName(host) == nil
}

func isEndpoint(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		if rest, ok = strings.CutPrefix(s, "http://"); !ok {
			return false
		}
	}
	host, path, _ := strings.Cut(rest, "/")
	path = strings.TrimSuffix(path, "/")
	return isAuthority(host) && (path == "" || CheckObjectKey(path) == nil && !strings.ContainsAny(path, "?#@%"))
}

func isName(s string) bool {
	return s != "" && len(s) <= 256 && only(s, func(c byte) bool { return isAlnum(c) || strings.IndexByte("._:/@+=,- ", c) >= 0 })
}

func isBool(s string) bool { return s == "true" || s == "false" }

func isStorageAccount(s string) bool {
	return len(s) >= 3 && len(s) <= 24 && only(s, func(c byte) bool { return isAlnum(c) && (c < 'A' || c > 'Z') })
}

func oneOf(values ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(values, s) }
}

// isSettingName reports whether the name of an unknown setting may be quoted. A name that has digits or
// is long may be a key without a name.
func isSettingName(s string) bool {
	return s != "" && len(s) <= 32 && only(s, func(c byte) bool { return isLetter(c) || c == '_' || c == '-' || c == '.' })
}

// isSecretName reports whether a setting's name looks like that of a credential.
func isSecretName(s string) bool {
	s = strings.ToLower(s)
	return slices.ContainsFunc([]string{"key", "secret", "token", "sig", "pass", "pwd", "cred", "auth", "sas"}, func(word string) bool { return strings.Contains(s, word) })
}

// isUUID reports whether the text is a UUID in canonical form (RFC 9562 section 4), in lower case.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') {
			return false
		}
	}
	return isHex(strings.ReplaceAll(s, "-", ""))
}

func isHex(s string) bool {
	return only(s, func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' })
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isAlnum(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' }

// only reports whether every byte of the text satisfies pass.
func only(s string, pass func(byte) bool) bool {
	for i := range len(s) {
		if !pass(s[i]) {
			return false
		}
	}
	return true
}
