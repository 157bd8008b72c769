package contract

import "testing"

func TestWordsSayWhatIsRedactedBesidesSecrets(t *testing.T) {
	for text, want := range map[string]Redaction{
		"":                   {},
		"email":              {Emails: true},
		"phone,grpc":         {Phones: true, DropGRPC: true},
		" grpc, email ,grpc": {Emails: true, DropGRPC: true},
	} {
		if got, err := ParseRedaction(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"mail", "email,phones", "Email"} {
		if got, err := ParseRedaction(text); err == nil || got != (Redaction{}) {
			t.Errorf("%q: %+v, %v; want an error", text, got, err)
		}
	}
}
