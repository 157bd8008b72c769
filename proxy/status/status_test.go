package status_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/proxy/status"
)

// full returns a status in which everything is set.
func full() status.Status {
	at := time.Date(2026, 11, 29, 11, 0, 0, 0, time.UTC)
	half := &status.Half{Ports: []status.Port{{Port: 4143, App: "localhost:8080"}}, Failed: &status.Failure{Time: at, Target: "a:1", Reason: status.Unreachable, Error: "refused"}}
	return status.Status{
		Version: "v1", Pod: "shop/cart", Time: at, Started: at, Draining: true, Inbound: half, Outbound: half,
		TLS:   &status.TLS{CA: status.CAGood, Error: "e", Directory: "/ca", Trust: "/trust", TrustError: "e"},
		Notes: []status.Note{{Time: at, Direction: "OUT", Host: "a:443", Outcome: "o", Error: "e"}},
		Sink:  &status.Sink{Directory: "/d", Error: "e", Collector: &status.Collector{URL: "http://c", Stored: at, Failed: half.Failed}},
	}
}

func TestNamesOfFields(t *testing.T) {
	text, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	var names func(path string, v any)
	names = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				names(path, one)
			}
		case map[string]any:
			for name, one := range v {
				if name == "" || strings.ToLower(name[:1]) != name[:1] || strings.ToUpper(name) == name {
					t.Errorf("%s.%s is not in lowerCamel", path, name)
				}
				names(path+"."+name, one)
			}
		}
	}
	var all any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	names("", all)
}

// Early sidecars write the names of the Go fields.
func TestNamesOfOlderSidecars(t *testing.T) {
	var got status.Status
	if err := json.Unmarshal(capitals(t, full()), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// capitals encodes a value with the names of Go's fields.
func capitals(t *testing.T, v any) []byte {
	t.Helper()
	var plain func(v reflect.Value) any
	plain = func(v reflect.Value) any {
		switch v.Kind() {
		case reflect.Pointer:
			return plain(v.Elem())
		case reflect.Slice:
			var all []any
			for i := range v.Len() {
				all = append(all, plain(v.Index(i)))
			}
			return all
		case reflect.Struct:
			if at, ok := v.Interface().(time.Time); ok {
				return at
			}
			all := map[string]any{}
			for i := range v.NumField() {
				all[v.Type().Field(i).Name] = plain(v.Field(i))
			}
			return all
		}
		return v.Interface()
	}
	text, err := json.Marshal(plain(reflect.ValueOf(v)))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
