package redact

import (
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// Mail addresses and phone numbers are redacted if the options say so.
func TestPersonalDataIsRedactedByOption(t *testing.T) {
	const body = `{"mail":"joe.doe+x@shop.example","text":"call +49 (0)30 1234-567 or write to <a@b.example>.","at":"2026-11-22T20:15:00+01:00","sum":"1+12345678","x":"a@b"}`
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{}, body},
		{Options{Redaction: contract.Redaction{Emails: true}}, `{"mail":"R","text":"call +49 (0)30 1234-567 or write to <R>.","at":"2026-11-22T20:15:00+01:00","sum":"1+12345678","x":"a@b"}`},
		{Options{Redaction: contract.Redaction{Phones: true}}, `{"mail":"joe.doe+x@shop.example","text":"call R or write to <a@b.example>.","at":"2026-11-22T20:15:00+01:00","sum":"1+12345678","x":"a@b"}`},
	} {
		e := &recording.Exchange{HTTP: &recording.HTTP{Res: recording.HTTPResponse{Body: []byte(body), Headers: recording.Headers{{Name: "From", Value: "joe@shop.example"}}}}}
		New(recording.Discard{}, c.options).Write(e)
		if got := tokens.ReplaceAllString(string(e.HTTP.Res.Body), "R"); got != c.want {
			t.Errorf("%+v: %s", c.options, got)
		}
		if redacted := IsToken(e.HTTP.Res.Headers[0].Value); redacted != c.options.Emails {
			t.Errorf("%+v: From: %s", c.options, e.HTTP.Res.Headers[0].Value)
		}
	}
}
