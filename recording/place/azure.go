package place

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

// azureDriver speaks to Azure Blob Storage.
type azureDriver struct{ container *container.Client }

func openAzure(_ context.Context, p contract.Place) (driver, error) {
	account := cmp.Or(p.Setting("storage_account"), os.Getenv("AZURE_STORAGE_ACCOUNT"))
	endpoint := p.Setting("endpoint")
	if endpoint == "" {
		if account == "" {
			return nil, errors.New("no storage account: set storage_account in the place, or AZURE_STORAGE_ACCOUNT")
		}
		endpoint = "https://" + account + ".blob.core.windows.net"
	}
	target := strings.TrimSuffix(endpoint, "/") + "/" + p.Host
	transport, err := newTransport()
	if err != nil {
		return nil, err
	}
	options := &container.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: &http.Client{Transport: transport},
		Retry:     policy.RetryOptions{MaxRetries: maxTries - 1, RetryDelay: firstWait, MaxRetryDelay: longestWait},
	}}

	client, err := openContainer(target, account, options)
	if err != nil {
		return nil, err
	}
	return &azureDriver{client}, nil
}

func openContainer(target, account string, options *container.ClientOptions) (*container.Client, error) {
	if key := os.Getenv("AZURE_STORAGE_KEY"); key != "" {
		if account == "" {
			return nil, errors.New("AZURE_STORAGE_KEY is set, but no storage account: set storage_account in the place, or AZURE_STORAGE_ACCOUNT")
		}
		shared, err := container.NewSharedKeyCredential(account, key)
		if err != nil {
			return nil, asCredentialsError(errors.New("AZURE_STORAGE_KEY is not a key: want base64"))
		}
		return container.NewClientWithSharedKeyCredential(target, shared, options)
	}
	if sas := os.Getenv("AZURE_STORAGE_SAS_TOKEN"); sas != "" {
		return container.NewClientWithNoCredential(target+"?"+strings.TrimPrefix(sas, "?"), options)
	}
	chain, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: options.Transport}})
	if err != nil {
		return nil, asCredentialsError(err)
	}
	return container.NewClient(target, azureCredentials{chain}, options)
}

type azureCredentials struct{ azcore.TokenCredential }

func (c azureCredentials) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := c.TokenCredential.GetToken(ctx, options)
	return token, asCredentialsError(err)
}

func (d *azureDriver) put(ctx context.Context, key string, body io.ReadSeeker, _ int64) error {
	_, err := d.container.NewBlockBlobClient(key).Upload(ctx, streaming.NopCloser(body), &blockblob.UploadOptions{
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}},
	})
	return err
}

func (d *azureDriver) get(ctx context.Context, key string, offset int64, version string) (io.ReadCloser, string, error) {
	options := &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: offset}}
	if version != "" {
		options.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(version))}}
	}
	out, err := d.container.NewBlobClient(key).DownloadStream(ctx, options)
	if err != nil {
		return nil, "", err
	}
	if offset > 0 && out.ContentRange == nil {
		out.Body.Close()
		return nil, "", errNoRange
	}
	return out.Body, string(value(out.ETag)), nil
}

func (d *azureDriver) pages(ctx context.Context, prefix, delimiter string) iter.Seq2[page, error] {
	return paged(func(token string) (page, error) { return d.list(ctx, prefix, delimiter, token) })
}

func (d *azureDriver) list(ctx context.Context, prefix, delimiter, token string) (p page, err error) {
	marker := &token
	if token == "" {
		marker = nil
	}
	var items []*container.BlobItem
	var next *string
	if delimiter == "" {
		var out container.ListBlobsFlatResponse
		if out, err = d.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix, Marker: marker}).NextPage(ctx); err != nil {
			return page{}, err
		}
		items, next = out.Segment.BlobItems, out.NextMarker
	} else {
		var out container.ListBlobsHierarchyResponse
		if out, err = d.container.NewListBlobsHierarchyPager(delimiter, &container.ListBlobsHierarchyOptions{Prefix: &prefix, Marker: marker}).NextPage(ctx); err != nil {
			return page{}, err
		}
		for _, f := range out.Segment.BlobPrefixes {
			p.folders = append(p.folders, value(f.Name))
		}
		next = out.NextMarker
	}
	p.next = value(next)
	for _, o := range items {
		if o.Properties == nil || value(o.Properties.ResourceType) == "directory" { // an entry in a hierarchical namespace
			continue
		}
		p.objects = append(p.objects, store.Object{Key: value(o.Name), Size: value(o.Properties.ContentLength), Modified: value(o.Properties.LastModified)})
	}
	return p, nil
}

// value returns what p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (d *azureDriver) delete(ctx context.Context, key string) error {
	_, err := d.container.NewBlobClient(key).Delete(ctx, nil)
	return err
}

var azureProblems = map[bloberror.Code]problem{
	bloberror.BlobAlreadyExists: inUse, bloberror.ConditionNotMet: inUse,
	bloberror.BlobNotFound:      absent,
	bloberror.ContainerNotFound: noBucket, bloberror.ContainerBeingDeleted: noBucket, bloberror.ContainerDisabled: noBucket,
	bloberror.AuthorizationFailure: denied, bloberror.AuthorizationPermissionMismatch: denied, bloberror.AuthorizationProtocolMismatch: denied,
	bloberror.AuthorizationResourceTypeMismatch: denied, bloberror.AuthorizationServiceMismatch: denied, bloberror.AuthorizationSourceIPMismatch: denied,
	bloberror.InsufficientAccountPermissions: denied,
	bloberror.AuthenticationFailed:           badCredentials, bloberror.InvalidAuthenticationInfo: badCredentials, bloberror.NoAuthenticationInformation: badCredentials,
}

func (d *azureDriver) diagnose(op string, err error) diagnosis {
	e, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return diagnosis{}
	}
	found := diagnosis{problem: azureProblems[bloberror.Code(e.ErrorCode)], words: strings.TrimSpace(http.StatusText(e.StatusCode) + " " + e.ErrorCode)}
	if found.problem == inUse && op != "put" {
		found = diagnosis{words: "the object was replaced while it was read"}
	}
	return found
}
