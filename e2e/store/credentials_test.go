package store

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeFile writes a temporary file, and returns its name.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A place names no credentials, and at most a profile. The rest comes from the platform.
func TestS3CredentialsOfPodsAndLaptops(t *testing.T) {
	endpoint := startS3(t, "recordings")
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	answer := func(t *testing.T, want func(r *http.Request) bool, text string) string {
		return frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
			if !want(r) {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			fmt.Fprint(w, text)
		})
	}
	for name, c := range map[string]struct {
		setting string
		setup   func(t *testing.T)
	}{
		"a profile": {"&profile=ci", func(t *testing.T) {
			t.Setenv("AWS_CONFIG_FILE", writeFile(t, "config", "[profile ci]\naws_access_key_id="+accessKey+"\naws_secret_access_key="+secretKey+"\n"))
		}},
		"a profile with a program": {"&profile=ci", func(t *testing.T) {
			program := writeFile(t, "credentials.sh", fmt.Sprintf("echo '{\"Version\": 1, \"AccessKeyId\": %q, \"SecretAccessKey\": %q}'\n", accessKey, secretKey))
			t.Setenv("AWS_CONFIG_FILE", writeFile(t, "config", "[profile ci]\ncredential_process=/bin/sh "+program+"\n"))
		}},
		"a profile with SSO": {"&profile=sso", func(t *testing.T) {
			t.Setenv("AWS_CONFIG_FILE", writeFile(t, "config", "[profile sso]\nsso_session=corp\nsso_account_id=123456789012\nsso_role_name=reader\n"+
				"[sso-session corp]\nsso_region=eu-central-1\nsso_start_url=https://corp.example/start\n"))
			home := t.TempDir()
			t.Setenv("HOME", home)
			digest := sha1.Sum([]byte("corp"))
			writeFile(t, filepath.Join(home, ".aws", "sso", "cache", hex.EncodeToString(digest[:])+".json"),
				fmt.Sprintf(`{"accessToken": "token", "expiresAt": %q, "region": "eu-central-1", "startUrl": "https://corp.example/start"}`, expires))
			t.Setenv("AWS_ENDPOINT_URL_SSO", answer(t, func(r *http.Request) bool { return r.Header.Get("x-amz-sso_bearer_token") == "token" },
				fmt.Sprintf(`{"roleCredentials": {"accessKeyId": %q, "secretAccessKey": %q, "expiration": %d}}`, accessKey, secretKey, time.Now().Add(time.Hour).UnixMilli())))
		}},
		"IRSA in EKS": {"", func(t *testing.T) {
			t.Setenv("AWS_REGION", "us-east-1")
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", writeFile(t, "token", "identity"))
			t.Setenv("AWS_ENDPOINT_URL_STS", answer(t, func(r *http.Request) bool {
				return r.FormValue("Action") == "AssumeRoleWithWebIdentity" && r.FormValue("WebIdentityToken") == "identity"
			}, fmt.Sprintf(`<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId>
				<SecretAccessKey>%s</SecretAccessKey><SessionToken></SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, accessKey, secretKey, expires)))
		}},
		"pod identity in EKS": {"", func(t *testing.T) {
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", writeFile(t, "token", "identity"))
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", answer(t, func(r *http.Request) bool { return r.Header.Get("Authorization") == "identity" },
				fmt.Sprintf(`{"AccessKeyId": %q, "SecretAccessKey": %q, "Expiration": %q}`, accessKey, secretKey, expires)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			c.setup(t)
			text := "s3://recordings/" + strings.ReplaceAll(name, " ", "-") + "?endpoint=" + endpoint + c.setting
			expect(t, text, nil, map[string]string{"put": "", "get": "", "list": "", "delete": ""})
		})
	}
	t.Run("a token that has expired", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", secretKey)
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"code": "ExpiredTokenException", "message": "log in again"}`)
		})+"/?sv=x")
		expect(t, "s3://recordings/p?endpoint="+endpoint, fs.ErrPermission, map[string]string{"list": "no credentials: a place has none; they come from the AWS SDK's own"})
	})
}

func TestGCSCredentialsOfPodsAndLaptops(t *testing.T) {
	upstream := behind(t, startGCS(t, "recordings"))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer issued" {
			t.Errorf("%s %s has the authorization %q", r.Method, r.URL, got)
		}
		upstream.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	token := func(t *testing.T, want func(r *http.Request) bool) string {
		return frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
			if !want(r) {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			w.Header().Set("Metadata-Flavor", "Google")
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token": "issued", "token_type": "Bearer", "expires_in": 3600, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}`)
		})
	}
	for name, setup := range map[string]func(t *testing.T){
		"workload identity in GKE": func(t *testing.T) {
			metadata := token(t, func(r *http.Request) bool {
				return strings.HasPrefix(r.URL.Path, "/computeMetadata/v1/") && r.Header.Get("Metadata-Flavor") == "Google"
			})
			t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(metadata, "http://"))
		},
		"a service account's key": func(t *testing.T) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			file, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "robot@example", "private_key_id": "1",
				"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
				"token_uri":   token(t, func(r *http.Request) bool { return r.FormValue("assertion") != "" })})
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeFile(t, "key.json", string(file)))
		},
		"a federated workload identity": func(t *testing.T) {
			file, err := json.Marshal(map[string]any{"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
				"subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
				"token_url":          token(t, func(r *http.Request) bool { return r.FormValue("subject_token") == "identity" }),
				"credential_source":  map[string]string{"file": writeFile(t, "token", "identity")}})
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeFile(t, "federated.json", string(file)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			setup(t)
			text := "gs://recordings/" + strings.ReplaceAll(name, " ", "-") + "?endpoint=" + server.URL
			expect(t, text, nil, map[string]string{"put": "", "get": "", "list": "", "delete": ""})
		})
	}
	t.Run("none", func(t *testing.T) {
		expect(t, "gs://recordings/p?endpoint="+server.URL, fs.ErrPermission, map[string]string{
			"list": "no credentials: a place has none; they come from Google's application default credentials"})
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
		_, err := openText(t, "gs://recordings/p")
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "open gs://recordings/p: no credentials: a place has none") || !strings.Contains(err.Error(), "/nonexistent") {
			t.Errorf("open: %v", err)
		}
	})
}

func TestAzureCredentialsOfPodsAndLaptops(t *testing.T) {
	fake := newAzure("recordings")
	server := httptest.NewTLSServer(fake)
	t.Cleanup(server.Close)
	t.Setenv("AZURE_STORAGE_KEY", "")
	for name, setup := range map[string]func(t *testing.T){
		"a key":                     func(t *testing.T) { t.Setenv("AZURE_STORAGE_KEY", azureKey) },
		"a shared access signature": func(t *testing.T) { t.Setenv("AZURE_STORAGE_SAS_TOKEN", "sv=2026-01-01&sig="+sasSignature) },
		"a managed identity": func(t *testing.T) {
			t.Setenv("IDENTITY_HEADER", "identity")
			t.Setenv("IDENTITY_ENDPOINT", frontDoor(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-IDENTITY-HEADER") != "identity" || r.FormValue("resource") != "https://storage.azure.com" {
					t.Errorf("asked %s %s", r.Method, r.URL)
				}
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"access_token": "issued", "expires_on": "%d", "resource": "https://storage.azure.com", "token_type": "Bearer"}`, time.Now().Add(time.Hour).Unix())
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			setup(t)
			text := "azblob://recordings/" + strings.ReplaceAll(name, " ", "-") + "?endpoint=" + server.URL
			expect(t, text, nil, map[string]string{"put": "", "get": "", "list": "", "delete": ""})
		})
	}
}
