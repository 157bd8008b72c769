package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// s3Driver speaks the protocol of S3.
type s3Driver struct {
	client     *s3.Client
	bucket     string
	encryption types.ServerSideEncryption
	key        *string // ID of the KMS key
	foreign    bool    // the endpoint is not Amazon's
}

func openS3(ctx context.Context, p contract.Place) (driver, error) {
	transport, err := newTransport()
	if err != nil {
		return nil, err
	}
	// With the library's own type of client, AWS_CA_BUNDLE works.
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig.RootCAs, t.ResponseHeaderTimeout = transport.TLSClientConfig.RootCAs, transport.ResponseHeaderTimeout
	})
	options := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{}), config.WithHTTPClient(client)}
	if region := p.Setting("region"); region != "" {
		options = append(options, config.WithRegion(region))
	}
	if profile := p.Setting("profile"); profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Credentials != nil {
		cfg.Credentials = awsCredentials{cfg.Credentials}
	}
	d := &s3Driver{bucket: p.Host, encryption: types.ServerSideEncryption(p.Setting("ssetype"))}
	if key := p.Setting("kmskeyid"); key != "" {
		d.key = &key
	}
	d.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if endpoint := p.Setting("endpoint"); endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
		// AWS's configuration can name an endpoint, too.
		if d.foreign = o.BaseEndpoint != nil; d.foreign {
			o.UsePathStyle = true
			if o.Region == "" {
				o.Region = "us-east-1"
			}
			// Several stores reject a checksum that follows the body.
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
		if style := p.Setting("use_path_style"); style != "" {
			o.UsePathStyle = style == "true"
		}
		o.DisableLogOutputChecksumValidationSkipped = true
		// Two conditional writes ran at the same time.
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "ConditionalRequestConflict")
	})
	if d.client.Options().Region == "" {
		return nil, errors.New("no region: set region in the place, or AWS_REGION")
	}
	return d, nil
}

type awsCredentials struct{ aws.CredentialsProvider }

func (c awsCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	return got, asCredentialsError(err)
}

func (d *s3Driver) put(ctx context.Context, key string, body io.ReadSeeker, size int64) error {
	_, err := d.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &d.bucket, Key: &key, Body: body, ContentLength: &size,
		IfNoneMatch:          aws.String("*"),
		ServerSideEncryption: d.encryption, SSEKMSKeyId: d.key,
	})
	return err
}

func (d *s3Driver) get(ctx context.Context, key string, offset int64, version string) (io.ReadCloser, string, error) {
	in := &s3.GetObjectInput{Bucket: &d.bucket, Key: &key}
	if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	if version != "" {
		in.IfMatch = &version
	}
	out, err := d.client.GetObject(ctx, in)
	if err != nil {
		return nil, "", err
	}
	if offset > 0 && out.ContentRange == nil {
		out.Body.Close()
		return nil, "", errNoRange
	}
	return out.Body, aws.ToString(out.ETag), nil
}

func (d *s3Driver) pages(ctx context.Context, prefix, delimiter string) iter.Seq2[page, error] {
	return paged(func(token string) (page, error) { return d.list(ctx, prefix, delimiter, token) })
}

func (d *s3Driver) list(ctx context.Context, prefix, delimiter, token string) (page, error) {
	in := &s3.ListObjectsV2Input{Bucket: &d.bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl} // XML can't represent every character
	if delimiter != "" {
		in.Delimiter = &delimiter
	}
	if token != "" {
		in.ContinuationToken = &token
	}
	out, err := d.client.ListObjectsV2(ctx, in)
	if err != nil {
		return page{}, err
	}
	name := func(s *string) string {
		if decoded, err := url.QueryUnescape(aws.ToString(s)); err == nil && out.EncodingType == types.EncodingTypeUrl {
			return decoded
		}
		return aws.ToString(s)
	}
	var p page
	for _, o := range out.Contents {
		p.objects = append(p.objects, store.Object{Key: name(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
	}
	for _, c := range out.CommonPrefixes {
		p.folders = append(p.folders, name(c.Prefix))
	}
	if aws.ToBool(out.IsTruncated) {
		p.next = aws.ToString(out.NextContinuationToken)
	}
	return p, nil
}

func (d *s3Driver) delete(ctx context.Context, key string) error {
	_, err := d.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &d.bucket, Key: &key})
	return err
}

// s3Problems maps the error codes of S3 and of credential services to problems.
var s3Problems = map[string]problem{
	"NoSuchKey": absent, "NotFound": absent,
	"NoSuchBucket":       noBucket,
	"PreconditionFailed": inUse,
	"QuotaExceeded":      full, "InsufficientStorage": full, "XMinioStorageFull": full, "XMinioAdminBucketQuotaExceeded": full,
	"AccessDenied": denied, "Forbidden": denied, "AllAccessDisabled": denied,
	"InvalidAccessKeyId": badCredentials, "SignatureDoesNotMatch": badCredentials, "ExpiredToken": badCredentials,
	"InvalidToken": badCredentials, "TokenRefreshRequired": badCredentials, "RequestTimeTooSkewed": badCredentials,
	"PermanentRedirect": wrongRegion, "AuthorizationHeaderMalformed": wrongRegion, "IllegalLocationConstraintException": wrongRegion,
}

func (d *s3Driver) diagnose(op string, err error) diagnosis {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return diagnosis{}
	}
	found := diagnosis{problem: s3Problems[api.ErrorCode()], words: api.ErrorCode() + ": " + api.ErrorMessage()}
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && resp.Response != nil {
		found.region = resp.Response.Header.Get("X-Amz-Bucket-Region")
		switch resp.HTTPStatusCode() {
		case http.StatusMovedPermanently:
			found.problem = wrongRegion
		case http.StatusInsufficientStorage:
			found.problem = full
		}
	}
	if found.problem == inUse && op != "put" {
		found = diagnosis{words: "the object was replaced while it was read"}
	}
	return found
}
