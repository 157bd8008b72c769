package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tapedeck/tapedeck/recording/store"
)

// operations makes each call of a store, with an odd character in the key.
var operations = map[string]func(t *testing.T, s store.Store) error{
	"put": func(t *testing.T, s store.Store) error {
		return s.Put(t.Context(), "hour=20/x y", strings.NewReader("body"))
	},
	"get": func(t *testing.T, s store.Store) error {
		_, err := s.Get(t.Context(), "hour=20/x y")
		return err
	},
	"list": func(t *testing.T, s store.Store) error {
		for _, err := range s.List(t.Context(), "hour=20/") {
			if err != nil {
				return err
			}
		}
		return nil
	},
	"delete": func(t *testing.T, s store.Store) error { return s.Delete(t.Context(), "hour=20/x y") },
}

// expect opens the place and checks the errors of the operations: "" means success. No secret may
// appear.
func expect(t *testing.T, text string, kind error, want map[string]string) {
	t.Helper()
	s, err := openText(t, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"put", "get", "list", "delete"} {
		want, wanted := want[op]
		if !wanted {
			continue
		}
		err := operations[op](t, s)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", op, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), op+" "+text[:strings.Index(text, "?")]+"/hour=20/") {
			t.Errorf("%s: got  %v\nwant %s %s …: … %s", op, err, op, text, want)
		}
		if kind != nil && !errors.Is(err, kind) {
			t.Errorf("%s: %v is no %v", op, err, kind)
		}
		hidesSecrets(t, err)
	}
}

const sasSignature = "c2lnbmF0dXJlLW9mLWEtc2hhcmVkLWFjY2Vzcw"

func hidesSecrets(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{secretKey, "wrong" + secretKey, azureKey, sasSignature, "?sv=", "Signature=", "\n"} {
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Errorf("%q shows in %v", secret, err)
		}
	}
}

func TestMissingBucket(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			missing := strings.Replace(server.place, "//recordings", "//missing", 1) + server.start(t)
			kind := "bucket"
			if name == "azblob" {
				kind = "container"
			}
			want := "there is no " + kind + " missing: create it, or correct the name or the settings of the place"
			expect(t, missing, nil, map[string]string{"put": want, "list": want})
		})
	}
}

func TestS3AccessIsRefused(t *testing.T) {
	endpoint, dir := startGateway(t, "--sidecar", t.TempDir())
	if err := os.Mkdir(filepath.Join(dir, "recordings"), 0o700); err != nil {
		t.Fatal(err)
	}
	const writerSecret = "wrong" + secretKey
	for _, user := range []string{"writer", "nobody"} {
		out, err := exec.CommandContext(t.Context(), gateway, "admin", "--access", accessKey, "--secret", secretKey, "--endpoint-url", endpoint,
			"create-user", "--access", user, "--secret", writerSecret, "--role", "user").CombinedOutput()
		if err != nil {
			t.Fatalf("create user: %v\n%s", err, out)
		}
	}
	client := s3.New(s3.Options{BaseEndpoint: &endpoint, UsePathStyle: true, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, "")})
	if _, err := client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("recordings"), Policy: aws.String(`{"Statement": [
		{"Effect": "Allow", "Principal": {"AWS": ["writer"]}, "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::recordings/*"]}]}`)}); err != nil {
		t.Fatal(err)
	}
	text := "s3://recordings/p?endpoint=" + endpoint

	t.Run("who may write may not list", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "writer")
		t.Setenv("AWS_SECRET_ACCESS_KEY", writerSecret)
		expect(t, text, fs.ErrPermission, map[string]string{
			"put":  "",
			"list": "access denied: grant s3:ListBucket (AccessDenied",
			"get":  "access denied: grant s3:GetObject; without s3:ListBucket, S3 gives this answer for a missing object, too (AccessDenied",
		})
		// The store learns that the key is in use, but can't compare the objects.
		s := open(t, text)
		err := store.PutOnce(t.Context(), s, "hour=20/x y", strings.NewReader("body"))
		if !errors.Is(err, fs.ErrExist) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "can't compare its bytes: get s3://") {
			t.Errorf("put once: %v", err)
		}
		hidesSecrets(t, err)
	})
	t.Run("who may nothing", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "nobody")
		t.Setenv("AWS_SECRET_ACCESS_KEY", writerSecret)
		expect(t, text, fs.ErrPermission, map[string]string{"put": "access denied: grant s3:PutObject (AccessDenied", "delete": "access denied: grant s3:DeleteObject"})
	})
	t.Run("a wrong secret", func(t *testing.T) {
		t.Setenv("AWS_SECRET_ACCESS_KEY", writerSecret)
		want := "the store does not accept the credentials: they may be wrong or expired, or the clock may be wrong; they come from the AWS SDK's own"
		expect(t, text, fs.ErrPermission, map[string]string{"put": want, "get": want, "list": want, "delete": want})
	})
	t.Run("an unknown key", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "unknown")
		expect(t, text, fs.ErrPermission, map[string]string{"list": "the store does not accept the credentials"})
	})
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		expect(t, text, fs.ErrPermission, map[string]string{"list": "no credentials: a place has none; they come from the AWS SDK's own: environment, ~/.aws with SSO, EKS (IRSA, pod identity), ECS, EC2 ("})
	})
	t.Run("a wrong region", func(t *testing.T) {
		expect(t, text+"&region=eu-central-1", nil, map[string]string{"list": "the bucket is in another region: set region"})
	})
}

func TestGCSAccessIsRefused(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusForbidden:    `access denied: grant storage.objects.list (403 forbidden: robot@example does not have storage.objects.list access)`,
		http.StatusUnauthorized: "the store does not accept the credentials: they may be wrong or expired",
	} {
		door := frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, `{"error": {"code": 403, "message": "robot@example does not have storage.objects.list access", "errors": [{"reason": "forbidden"}]}}`)
		})
		expect(t, "gs://recordings/p?endpoint="+door, fs.ErrPermission, map[string]string{"list": want})
	}
}

func TestAzureAccessIsRefused(t *testing.T) {
	fake := newAzure("recordings")
	text := "azblob://recordings/p?endpoint=" + frontDoor(t, fake.ServeHTTP)
	t.Run("who may write may not list", func(t *testing.T) {
		fake.denied = func(r *http.Request) (int, string) {
			if r.Method == http.MethodPut {
				return 0, ""
			}
			return http.StatusForbidden, "AuthorizationPermissionMismatch"
		}
		expect(t, text, fs.ErrPermission, map[string]string{
			"put": "", "list": "access denied: grant Storage Blob Data Reader (Forbidden AuthorizationPermissionMismatch)"})
	})
	t.Run("a shared access signature that has expired", func(t *testing.T) {
		t.Setenv("AZURE_STORAGE_KEY", "")
		t.Setenv("AZURE_STORAGE_SAS_TOKEN", "?sv=2026-01-01&se=2026-01-02&sig="+sasSignature)
		fake.denied = func(r *http.Request) (int, string) {
			if r.URL.Query().Get("sig") != sasSignature {
				t.Errorf("no signature in %s", r.URL)
			}
			return http.StatusForbidden, "AuthenticationFailed"
		}
		expect(t, text, fs.ErrPermission, map[string]string{"put": "the store does not accept the credentials", "list": "they come from AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"})
	})
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv("AZURE_STORAGE_KEY", "")
		t.Setenv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential")
		expect(t, "azblob://recordings/p?endpoint=https://127.0.0.1:1", fs.ErrPermission, map[string]string{"list": "no credentials: a place has none; they come from AZURE_STORAGE_KEY"})
	})
	t.Run("an invalid key", func(t *testing.T) {
		t.Setenv("AZURE_STORAGE_KEY", "wrong"+secretKey+"!")
		_, err := openText(t, text)
		if err == nil || !strings.Contains(err.Error(), "AZURE_STORAGE_KEY is not a key: want base64") {
			t.Errorf("open: %v", err)
		}
		hidesSecrets(t, err)
	})
	t.Run("no account", func(t *testing.T) {
		t.Setenv("AZURE_STORAGE_ACCOUNT", "")
		_, err := openText(t, "azblob://recordings")
		if err == nil || !strings.Contains(err.Error(), "open azblob://recordings: no storage account: set storage_account in the place, or AZURE_STORAGE_ACCOUNT") {
			t.Errorf("open: %v", err)
		}
	})
}

func TestAStoreThatCannotBeReached(t *testing.T) {
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AZURE_STORAGE_KEY", "")
			t.Setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2026-01-01&sig="+sasSignature)
			expect(t, server.place+"http://127.0.0.1:1", nil, map[string]string{
				"list": "the store cannot be reached: check the names and the endpoint in the place, the network, and the proxy if there is one (dial tcp 127.0.0.1:1: connect: connection refused)"})
		})
	}
}

func TestS3NeedsARegion(t *testing.T) {
	_, err := openText(t, "s3://recordings")
	if err == nil || !strings.Contains(err.Error(), "open s3://recordings: no region: set region in the place, or AWS_REGION") {
		t.Errorf("open: %v", err)
	}
	_, err = openText(t, "s3://recordings?profile=missing")
	if err == nil || !strings.Contains(err.Error(), "open s3://recordings?profile=missing: AWS configuration: failed to get shared config profile, missing") {
		t.Errorf("open: %v", err)
	}
}
