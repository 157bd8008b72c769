package redact

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// A token replaces only the secret, not a scheme before it. So the token is the same where the secret
// has no scheme.
func TestSchemesStayBeforeTheirTokens(t *testing.T) {
	const secret = "hush0123456789hush"
	r := New(recording.Discard{}, Options{})
	token := r.tokens.Of(secret)
	for _, text := range []string{`{"a":"Bearer @"}`, `{"authorization":"bearer @"}`, `{"token":"Bearer @"}`, `{"a":"say Bearer @ now"}`, `{"a":"Authorization: Bearer @"}`,
		"<a>Bearer @</a>", "Authorization: Bearer @\n", "Bearer @", "a=Bearer+@", "token=Bearer+@", `{"url":"https://h/?token=Bearer%20@"}`, `{"url":"https://h/?token=@"}`, `{"token":"@"}`} {
		if got, want := document(r, strings.ReplaceAll(text, "@", secret), ""), strings.ReplaceAll(text, "@", token); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
	e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: "/?access_token=Bearer%20" + secret, Headers: recording.Headers{
		{Name: "Authorization", Value: "Bearer " + secret}, {Name: "X-Token", Value: "Bearer " + secret}, {Name: "X-A", Value: "Bearer " + secret}}}}}
	r.Write(e)
	for _, f := range e.HTTP.Req.Headers {
		if f.Value != "Bearer "+token {
			t.Errorf("%s: %s", f.Name, f.Value)
		}
	}
	if e.HTTP.Req.URI != "/?access_token=Bearer%20"+token {
		t.Error(e.HTTP.Req.URI)
	}
}

// A JSON Web Token is found after characters that look like part of it.
func TestWebTokensBehindLetters(t *testing.T) {
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hushhushhushhush"
	for _, before := range []string{"id_", "id-", "v1.", "key", "eye", "/"} {
		body := `{"a":"` + before + token + `"}`
		if got, _ := redactBody(body, false); got != `{"a":"`+before+`R"}` {
			t.Errorf("%s became %s", body, got)
		}
	}
	for _, body := range []string{`{"a":"survey9.eyJ.a"}`, `{"a":"they0.they9.they"}`} {
		if got, _ := redactBody(body, false); got != body {
			t.Errorf("%s became %s", body, got)
		}
	}
}
