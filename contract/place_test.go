package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlacesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]struct{ scheme, host, path, canonical string }{
		"recordings":                              {"file", "", "recordings", "recordings"},
		"./recordings/":                           {"file", "", "recordings", "recordings"},
		"/var/lib/tapedeck/":                      {"file", "", "/var/lib/tapedeck", "/var/lib/tapedeck"},
		"file:///var/lib/tape%20deck":             {"file", "", "/var/lib/tape deck", "/var/lib/tape deck"},
		"file://localhost/x":                      {"file", "", "/x", "/x"},
		"a:b":                                     {"file", "", "a:b", "./a:b"},
		"./s3:/bucket":                            {"file", "", "s3:/bucket", "./s3:/bucket"},
		"dir/50%":                                 {"file", "", "dir/50%", "dir/50%"},
		"s3://recordings":                         {"s3", "recordings", "", "s3://recordings"},
		"S3://recordings/":                        {"s3", "recordings", "", "s3://recordings"},
		"s3://recordings/team a/x?region=eu-1":    {"s3", "recordings", "team a/x", "s3://recordings/team%20a/x?region=eu-1"},
		"s3://recordings/50%25":                   {"s3", "recordings", "50%", "s3://recordings/50%25"},
		"s3://rec/p?profile=ci&region=eu-west-1":  {"s3", "rec", "p", "s3://rec/p?profile=ci&region=eu-west-1"},
		"s3://rec/p?region=eu-west-1&profile=ci":  {"s3", "rec", "p", "s3://rec/p?profile=ci&region=eu-west-1"},
		"s3://rec?endpoint=http://127.0.0.1:7070": {"s3", "rec", "", "s3://rec?endpoint=http://127.0.0.1:7070"},
		"s3://rec?endpoint=https://h/storage/s3/": {"s3", "rec", "", "s3://rec?endpoint=https://h/storage/s3"},
		"gs://rec/cluster=prod/namespace=équipe":  {"gs", "rec", "cluster=prod/namespace=équipe", "gs://rec/cluster=prod/namespace=%C3%A9quipe"},
		"azblob://rec/p?storage_account=acme1":    {"azblob", "rec", "p", "azblob://rec/p?storage_account=acme1"},
		"https://Collector.speedscale:8443":       {"https", "collector.speedscale:8443", "", "https://collector.speedscale:8443"},
		"http://[::1]:4200/team":                  {"http", "[::1]:4200", "team", "http://[::1]:4200/team"},
	} {
		p, err := ParsePlace(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if p.Scheme != want.scheme || p.Host != want.host || p.Path != want.path || p.String() != want.canonical {
			t.Errorf("%s: read as scheme %q, host %q, path %q, written as %s; want %+v", text, p.Scheme, p.Host, p.Path, p, want)
		}
		if again, err := ParsePlace(p.String()); err != nil || again != p {
			t.Errorf("%s: %s is read as %+v, %v; want %+v", text, p, again, err, p)
		}
	}
}

func TestWrongPlacesSayWhatIsAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"":                                `place "": empty; allowed: a path, file:///directory, s3://bucket/prefix, gs://bucket/prefix, azblob://container/prefix, http://collector:port, https://collector:port`,
		"ftp://host/x":                    `place "ftp://host/x": unknown scheme "ftp"; allowed: a path, file:///directory`,
		"s3:bucket":                       `place "s3:bucket": no // after "s3:"; want s3://bucket/prefix, or ./s3: for a directory of that name`,
		"s3:/bucket/x":                    `no // after "s3:"`,
		"s3://":                           `place "s3://": not a bucket or container name, which has 3 to 222 letters`,
		"s3://a b/x":                      `not a bucket or container name`,
		"s3://bucket:80/x":                `not a bucket or container name`,
		"file://relative/dir":             `place "file://relative/dir": a host; a directory has none: want file:///directory, or a path without a scheme`,
		"s3://bucket//x":                  `key "/x": an empty element`,
		"s3://bucket/a/../b":              `key "a/../b": the element ".." begins or ends with a dot`,
		"s3://bucket/a\\b":                `a character at byte 1 that not every store keeps`,
		"s3://bucket/50%":                 `a "%" without two hexadecimal digits; write %25`,
		"s3://bucket/a%0Ab":               `an escaped control character`,
		"s3://bucket/a\nb":                `a control character`,
		"s3://bucket/a#b":                 `a "#"; write %23`,
		"s3://bucket?regoin=x":            `place "s3://bucket?…": unknown setting "regoin"; allowed for s3: region, profile, endpoint, use_path_style, ssetype, kmskeyid`,
		"s3://bucket?region=a&region=b":   `setting "region" is given 2 times`,
		"s3://bucket?region=":             "wrong value of the setting \"region\"; allowed: a region, such as `eu-central-1`",
		"s3://bucket?use_path_style=yes":  "allowed: `true` or `false`",
		"s3://bucket?endpoint=minio:9000": "wrong value of the setting \"endpoint\"; allowed: `http://` or `https://` with a host",
		"s3://bucket?a=b;c":               `a malformed query`,
		"gs://bucket?region=x":            `unknown setting "region"; allowed for gs: endpoint`,
		"azblob://rec?storage_account=A":  `wrong value of the setting "storage_account"; allowed: 3 to 24 lower-case letters and digits`,
		"https://":                        `no host, or a wrong host or port; want https://collector:port`,
		"https://host:port":               `no host, or a wrong host or port`,
		"https://host?x=y":                `unknown setting "x"; https has no settings`,
	} {
		_, err := ParsePlace(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v; want %s", text, err, want)
		}
	}
}

// A place ends up in manifests, in git and in logs.
func TestCredentialsInAPlaceAreRefusedAndNotQuoted(t *testing.T) {
	const secret = "wJalrXUtnFEMIK7MDENG"
	for _, text := range []string{
		"s3://AKIA:" + secret + "@bucket/prefix",
		"s3://" + secret + "@bucket/prefix",
		"s3://AKIA:a/" + secret + "@bucket/prefix",
		"s3://AKIA:" + secret + "/a@bucket/prefix",
		"s3://AKIA:" + secret + "?a@bucket/prefix",
		"s3://AKIA:a?" + secret + "@bucket/prefix",
		"s3://AKIA:" + secret + "@bucket/snapshots/6ba7b810-9dad-41d1-80b4-00c04fd430c8@sha256:" + strings.Repeat("0", 64),
		"s3:/AKIA:" + secret + "@bucket",
		"s3:AKIA:" + secret + "@bucket",
		"ftp://user:" + secret + "@host",
		"https://user:" + secret + "@collector",
		"file://user:" + secret + "@host/x",
		"s3://bucket?secret_access_key=" + secret,
		"s3://bucket?access_key_id=" + secret,
		"s3://bucket?" + secret,
		"s3://bucket?region=" + secret + "%zz",
		"s3://bucket?region=" + secret + "!",
		"s3://bucket?endpoint=https://user:" + secret + "@host",
		"s3://bucket?endpoint=https://host/%3Fsig=" + secret,
		"azblob://rec?sv=2024&sig=" + secret,
		"azblob://rec?storage_account=x&sas_token=" + secret,
		"gs://bucket?private_key_path=" + secret,
	} {
		p, err := ParsePlace(text)
		if err == nil {
			t.Errorf("%s was read as %s", text, p)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("the error quotes the secret: %v", err)
		}
		if _, err := ParseSnapshotRef(text); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s as a snapshot: %v", text, err)
		}
	}
	_, err := ParsePlace("azblob://rec?sig=x")
	if want := "credentials come from AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v; want %s", err, want)
	}
}

func TestOnePlaceInsideAnother(t *testing.T) {
	for _, c := range []struct {
		outer, inner string
		want         bool
	}{
		{"recordings", "recordings", true},
		{"recordings", "./recordings/shop", true},
		{"recordings", "recordings2", false},
		{"recordings/shop", "recordings", false},
		{".", "recordings", true},
		{"/", "recordings", true},
		{"/", "file:///var", true},
		{"/var", "file:///var/lib", true},
		{"/var/lib/..", "/var/x", true},
		{"s3://bucket", "s3://bucket/x", true},
		{"s3://bucket/x", "s3://bucket/x?region=eu-west-1", true},
		{"s3://bucket/x", "s3://bucket/xy", false},
		{"s3://bucket/x", "s3://bucket", false},
		{"s3://bucket", "gs://bucket/x", false},
		{"s3://bucket", "s3://bucket2/x", false},
		{"s3://bucket", "s3://bucket/x?endpoint=http://minio:9000", false},
		{"azblob://rec?storage_account=one", "azblob://rec?storage_account=two", false},
	} {
		outer, err := ParsePlace(c.outer)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := ParsePlace(c.inner)
		if err != nil {
			t.Fatal(err)
		}
		if got := outer.Contains(inner); got != c.want {
			t.Errorf("%s contains %s: %v", outer, inner, got)
		}
	}
}

func TestOnePlaceInsideAnotherThroughALink(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		outer, inner string
		want         bool
	}{
		{dir, link, true},
		{link, dir, true},
		{dir, link + "/not/yet/made", true},
		{link + "/a", dir + "/a/b", true},
		{link, "a", true},
		{filepath.Dir(link), dir, false},
	} {
		outer, inner := Place{Scheme: "file", Path: c.outer}, Place{Scheme: "file", Path: c.inner}
		if got := outer.Contains(inner); got != c.want {
			t.Errorf("%s contains %s: %v", outer, inner, got)
		}
	}
}

func TestReferencesToSnapshots(t *testing.T) {
	const id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
	digest := strings.Repeat("0123456789abcdef", 4)
	for text, want := range map[string]struct{ place, digest, canonical string }{
		id:                                  {"", "", id},
		id + "@sha256:" + digest:            {"", digest, id + "@sha256:" + digest},
		"snapshots/" + id:                   {".", "", "snapshots/" + id},
		"/snapshots/" + id:                  {"/", "", "/snapshots/" + id},
		"/data/snapshots/" + id:             {"/data", "", "/data/snapshots/" + id},
		"file:///data/snapshots/" + id:      {"/data", "", "/data/snapshots/" + id},
		"s3://bucket/snapshots/" + id:       {"s3://bucket", "", "s3://bucket/snapshots/" + id},
		"s3://bucket/a/snapshots/" + id:     {"s3://bucket/a", "", "s3://bucket/a/snapshots/" + id},
		"https://collector/snapshots/" + id: {"https://collector", "", "https://collector/snapshots/" + id},
		"s3://bucket/snapshots/" + id + "@sha256:" + digest + "?region=eu-west-1": {
			"s3://bucket?region=eu-west-1", digest, "s3://bucket/snapshots/" + id + "@sha256:" + digest + "?region=eu-west-1"},
	} {
		ref, err := ParseSnapshotRef(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		place := ""
		if ref.Place != (Place{}) {
			place = ref.Place.String()
		}
		if ref.ID != id || place != want.place || ref.Digest != want.digest || ref.String() != want.canonical {
			t.Errorf("%s: read as %+v, written as %s; want %+v", text, ref, ref, want)
		}
		if again, err := ParseSnapshotRef(ref.String()); err != nil || again != ref {
			t.Errorf("%s: %s is read as %+v, %v", text, ref, again, err)
		}
	}
	for text, want := range map[string]string{
		"":                                 "place \"\": empty",
		"s3://bucket/" + id:                "want ID, PLACE/snapshots/ID, or one of them with @sha256:DIGEST",
		strings.ToUpper(id):                "want ID, PLACE/snapshots/ID",
		"snapshots/" + id[:35]:             "is not a snapshot ID, which is a UUID in lower case",
		"snapshots/" + strings.ToUpper(id): "is not a snapshot ID, which is a UUID in lower case",
		"snapshots/" + id + "@sha256:0":    "the text after @ is not a digest; want sha256: and 64 hexadecimal digits",
		"snapshots/" + id + "@latest":      "the text after @ is not a digest",
		"snapshots/" + id + "@sha256:" + strings.ToUpper(digest): "the text after @ is not a digest",
	} {
		if ref, err := ParseSnapshotRef(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %s", text, ref, err, want)
		}
	}
}

func TestKeysThatSomeStoreWouldNotKeep(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", "cluster=arn:aws:eks/namespace=shop/date=2026-11-22/hour=20/x-0.jsonl.zst", "a b/é/日本/😀", "100%/a+b&c=d?e#f", `"quoted"*[x]`, "~", "-", "a..b",
		strings.Repeat("a", 255), strings.Repeat("aaa/", 255) + "aaaa",
	} {
		if err := CheckObjectKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".hidden", "a/.tmp", "a.", "a./b", `a\b`, "a\x00b", "a\nb", "a\u0085b", "a\u202eb", "a\u2028b", "a\xffb", "\ufffd", "\ufffe",
		strings.Repeat("a", 256), strings.Repeat("aaa/", 256) + "a",
	} {
		if err := CheckObjectKey(key); err == nil {
			t.Errorf("%q passed", key)
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	for _, text := range []string{"a/b", "file:///a%20b", "s3://bucket/a/b?region=x&endpoint=http://h:1", "gs://b/c", "azblob://abc/d?storage_account=abc", "https://h:1/x", "s3://u:p@b", "snapshots/6ba7b810-9dad-41d1-80b4-00c04fd430c8@sha256:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const secret = "wJalrXUtnFEMIK7MDENG"
		if _, err := ParsePlace("s3://AKIA:" + secret + text + "@bucket"); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("a password: %v", err)
		}
		p, err := ParsePlace(text)
		if err != nil {
			return
		}
		if again, err := ParsePlace(p.String()); err != nil || again != p {
			t.Errorf("%q is written as %q, and that is read as %+v, %v; want %+v", text, p, again, err, p)
		}
		if !p.Contains(p) || !p.Contains(p.Join("x", "y")) || p.Join("x").Contains(p) {
			t.Errorf("%q is not inside itself, or is inside what it contains", text)
		}
		if ref, ok, err := p.Snapshot(); ok && err == nil {
			if again, err := ParseSnapshotRef(ref.String()); err != nil || again != ref {
				t.Errorf("%q is a snapshot, written as %q, and that is read as %+v, %v; want %+v", text, ref, again, err, ref)
			}
		}
	})
}

func TestDirectories(t *testing.T) {
	for text, want := range map[string]string{"a/b/": "a/b", "file:///var/lib/tapedeck": "/var/lib/tapedeck", "file:///a%20b": "/a b"} {
		if got, err := ParseDirectory(text); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "s3://bucket", "https://collector:8443", "file://elsewhere/dir", "a\x00b"} {
		if got, err := ParseDirectory(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func ExampleParsePlace() {
	p, err := ParsePlace("s3://recordings/shop?region=eu-central-1")
	fmt.Println(p.Host, p.Path, p.Setting("region"), err)
	fmt.Println(p.Join("snapshots"))
	_, err = ParsePlace("sftp://host/x")
	fmt.Println(err)
	// Output:
	// recordings shop eu-central-1 <nil>
	// s3://recordings/shop/snapshots?region=eu-central-1
	// place "sftp://host/x": unknown scheme "sftp"; allowed: a path, file:///directory, s3://bucket/prefix, gs://bucket/prefix, azblob://container/prefix, http://collector:port, https://collector:port
}
