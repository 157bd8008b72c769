package transformer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
)

func TestPlaceHosts(t *testing.T) {
	const (
		eks = "; tcp 80 eks-pod-identity-agent.internal at 169.254.170.23 fd00:ec2::23"
		gke = "; tcp 80 metadata.google.internal at 169.254.169.254"
	)
	for _, c := range []struct{ place, want string }{
		{"s3://tapes?region=eu-central-1", "https 443 tapes.s3.eu-central-1.amazonaws.com s3.eu-central-1.amazonaws.com sts.eu-central-1.amazonaws.com" + eks},
		{"s3://tapes?region=cn-north-1", "https 443 tapes.s3.cn-north-1.amazonaws.com.cn s3.cn-north-1.amazonaws.com.cn sts.cn-north-1.amazonaws.com.cn" + eks},
		{"s3://tapes", "https 443 *.amazonaws.com" + eks},
		{"s3://tapes?endpoint=https://store.example.com", "https 443 store.example.com *.store.example.com"},
		{"s3://tapes?endpoint=http://store.example.com:9000", "http 9000 store.example.com *.store.example.com"},
		{"s3://tapes?endpoint=http://10.1.2.3:9000", "tcp 9000 tapedeck-place.internal at 10.1.2.3"},
		{"s3://tapes?endpoint=http://minio:9000", ""},
		{"s3://tapes?endpoint=http://minio.storage:9000", ""},
		{"s3://tapes?endpoint=https://minio.storage.svc:9000", ""},
		{"s3://tapes?endpoint=https://example.com", "https 443 example.com *.example.com"},
		{"gs://tapes", "https 443 storage.googleapis.com oauth2.googleapis.com sts.googleapis.com iamcredentials.googleapis.com" + gke},
		{"azblob://tapes?storage_account=shop", "https 443 shop.blob.core.windows.net login.microsoftonline.com"},
		{"azblob://tapes", "https 443 *.blob.core.windows.net login.microsoftonline.com"},
		{"/tapes", ""},
	} {
		p, err := contract.ParsePlace(c.place)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range PlaceHosts(p) {
			text := fmt.Sprintf("%s %d %s", x.Scheme, x.Port, strings.Join(x.Hosts, " "))
			if x.Addresses != nil {
				text += " at " + strings.Join(x.Addresses, " ")
			}
			if !x.Private {
				text += " for all"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s opens %q, want %q", c.place, text, c.want)
		}
	}
}
