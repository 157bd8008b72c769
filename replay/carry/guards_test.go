package carry

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
)

// graphOf returns the graph of a recording.
func graphOf(steps ...*recording.Exchange) *Graph {
	f := NewFinder(Options{})
	for _, e := range steps {
		f.Add(e)
	}
	return f.Finish()
}

// edgesOf lists edges in the form `0 res.body.id -> 1 req.path[1]`, followed by the encoding.
func edgesOf(g *Graph) (all []string) {
	for e := range g.Edges() {
		text := fmt.Sprintf("%d %s -> %d %s", e.From, e.Issuer, e.To, e.Consumer)
		if e.Encoding != "" {
			text += ", " + e.Encoding
		}
		all = append(all, text)
	}
	return all
}

const (
	uuid  = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
	other = "9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d"
	token = "q8ZkT0vXw2LrB5nD"
)

// issueOf returns a step whose response has a JSON body. A useOf step carries a value from it.
func issueOf(ms int, body string, fields ...string) *recording.Exchange {
	return exchange(ms, "GET", "/issuer", "", 200, body, fields...)
}

func useOf(ms int, uri string, fields ...string) *recording.Exchange {
	return exchange(ms, "GET", uri, "", 200, "", fields...)
}

func posted(ms int, uri, contentType, body string) *recording.Exchange {
	return exchange(ms, "POST", uri, body, 200, "", "Content-Type", contentType)
}

func TestWhatIsCarried(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
	for name, c := range map[string]struct {
		steps []*recording.Exchange
		want  []string
	}{
		"a UUID in a segment":             {[]*recording.Exchange{issueOf(0, `{"a":{"id":"`+uuid+`"}}`), useOf(9, "/things/"+uuid+"/parts")}, []string{"0 res.body.a.id -> 1 req.path[1]"}},
		"in a query, escaped":             {[]*recording.Exchange{issueOf(0, `{"cursor":"q8ZkT0+/vXw2Lr=="}`), useOf(9, "/things?c=q8ZkT0%2b%2FvXw2Lr%3D%3D")}, []string{"0 res.body.cursor -> 1 req.query.c"}},
		"behind a scheme":                 {[]*recording.Exchange{issueOf(0, `["`+token+`"]`), useOf(9, "/", "X-Auth", "Token "+token)}, []string{"0 res.body[] -> 1 req.header.X-Auth, behind the scheme"}},
		"a JWT":                           {[]*recording.Exchange{issueOf(0, `{"t":"`+jwt+`"}`), useOf(9, "/", "Authorization", "Bearer "+jwt)}, []string{"0 res.body.t -> 1 req.header.Authorization, behind the scheme"}},
		"a header":                        {[]*recording.Exchange{issueOf(0, "", "<X-Session", token), useOf(9, "/", "X-Session", token)}, []string{"0 res.header.X-Session -> 1 req.header.X-Session"}},
		"from the scheme of a header":     {[]*recording.Exchange{issueOf(0, "", "<Authorization", "Bearer "+token), useOf(9, "/?t="+token)}, []string{"0 res.header.Authorization -> 1 req.query.t"}},
		"in base64":                       {[]*recording.Exchange{issueOf(0, `{"id":"`+uuid+`"}`), useOf(9, "/", "X-Ctx", base64.RawURLEncoding.EncodeToString([]byte(uuid)))}, []string{"0 res.body.id -> 1 req.header.X-Ctx, base64"}},
		"out of base64":                   {[]*recording.Exchange{issueOf(0, `{"id":"`+base64.StdEncoding.EncodeToString([]byte(uuid))+`"}`), useOf(9, "/things/"+uuid)}, []string{"0 res.body.id -> 1 req.path[1]"}},
		"a cookie of any length":          {[]*recording.Exchange{issueOf(0, "", "<Set-Cookie", "a=1; Path=/", "<Set-Cookie", "b=2"), useOf(9, "/", "Cookie", "b=2; a=1; c=3")}, []string{"0 res.cookie.b -> 1 req.cookie.b", "0 res.cookie.a -> 1 req.cookie.a"}},
		"a cookie in a header":            {[]*recording.Exchange{issueOf(0, "", "<Set-Cookie", "xsrf="+token), useOf(9, "/", "X-Xsrf", token)}, []string{"0 res.cookie.xsrf -> 1 req.header.X-Xsrf"}},
		"a cookie escaped in a header":    {[]*recording.Exchange{issueOf(0, "", "<Set-Cookie", "xsrf=q8ZkT0%2BvXw2LrB5nD"), useOf(9, "/", "X-Xsrf", "q8ZkT0+vXw2LrB5nD")}, []string{"0 res.cookie.xsrf -> 1 req.header.X-Xsrf"}},
		"Location's query":                {[]*recording.Exchange{issueOf(0, "", "<Location", "https://id.example.com/cb?code="+token+"&x=1"), posted(9, "/token", form, "code="+token)}, []string{"0 res.header.Location.query.code -> 1 req.body.code"}},
		"Location's fragment":             {[]*recording.Exchange{issueOf(0, "", "<Location", "/cb#access_token="+token), useOf(9, "/", "Authorization", "Bearer "+token)}, []string{"0 res.header.Location.fragment.access_token -> 1 req.header.Authorization, behind the scheme"}},
		"a URL in JSON":                   {[]*recording.Exchange{issueOf(0, `{"next":"https:\/\/a.example.com\/x?after=q8ZkT0%2BvXw2LrB5nD"}`), useOf(9, "/x?after=q8ZkT0%2BvXw2LrB5nD")}, []string{"0 res.body.next.query.after -> 1 req.query.after"}},
		"a URL in a query":                {[]*recording.Exchange{issueOf(0, `{"id":"`+uuid+`"}`), useOf(9, "/login?return=%2Fthings%2F"+uuid+"%3Fa%3D1")}, []string{"0 res.body.id -> 1 req.query.return.path[1]"}},
		"JSON in a form":                  {[]*recording.Exchange{issueOf(0, `{"id":"`+uuid+`"}`), posted(9, "/x", form, "data=%7B%22ref%22%3A%22"+uuid+"%22%7D")}, []string{"0 res.body.id -> 1 req.body.data.ref"}},
		"JSON in JSON":                    {[]*recording.Exchange{issueOf(0, `{"p":"{\"id\":\"`+uuid+`\"}"}`), posted(9, "/x", "application/json", `{"q":"{\"ref\":\"`+uuid+`\"}"}`)}, []string{"0 res.body.p.id -> 1 req.body.q.ref"}},
		"lines of JSON":                   {[]*recording.Exchange{issueOf(0, "{\"id\":1}\n{\"id\":\""+uuid+"\"}\n"), useOf(9, "/things/"+uuid)}, []string{"0 res.body[].id -> 1 req.path[1]"}},
		"server-sent events":              {[]*recording.Exchange{issueOf(0, "id: 1\ndata: {\"id\":\""+uuid+"\"}\n\n", "<Content-Type", "text/event-stream"), useOf(9, "/things/"+uuid)}, []string{"0 res.body[].id -> 1 req.path[1]"}},
		"a whole body":                    {[]*recording.Exchange{issueOf(0, token+"\n", "<Content-Type", "text/plain"), posted(9, "/x", "text/plain", token)}, []string{"0 res.body -> 1 req.body"}},
		"a link of a page":                {[]*recording.Exchange{issueOf(0, `<a href="/things/`+uuid+`?a=1&amp;b=2">x</a>`, "<Content-Type", "text/html"), useOf(9, "/things/"+uuid+"?a=1&b=2")}, []string{"0 res.body.a.href.path[1] -> 1 req.path[1]"}},
		"a path of a form":                {[]*recording.Exchange{issueOf(0, `<form action="/things/`+uuid+`"></form>`, "<Content-Type", "text/html"), useOf(9, "/things/"+uuid)}, []string{"0 res.body.form.action.path[1] -> 1 req.path[1]"}},
		"the latest issuer counts":        {[]*recording.Exchange{issueOf(0, `{"id":"`+uuid+`"}`), issueOf(5, `{"ref":"`+uuid+`"}`), useOf(9, "/things/"+uuid)}, []string{"1 res.body.ref -> 2 req.path[1]"}},
		"the first place of a response":   {[]*recording.Exchange{issueOf(0, `{"id":"`+uuid+`","self":{"id":"`+uuid+`"}}`), useOf(9, "/things/"+uuid)}, []string{"0 res.body.id -> 1 req.path[1]"}},
		"a validator, however short":      {[]*recording.Exchange{useOf(0, "/a", "<Etag", `"1"`), useOf(5, "/b", "<Etag", `"1"`), useOf(9, "/a", "If-None-Match", `"1"`)}, []string{"0 res.header.Etag -> 2 req.header.If-None-Match"}},
		"the date of a validator":         {[]*recording.Exchange{useOf(0, "/a", "<Last-Modified", "Sun, 29 Nov 2026 10:00:00 GMT"), useOf(9, "/a", "If-Modified-Since", "Sun, 29 Nov 2026 10:00:00 GMT")}, []string{"0 res.header.Last-Modified -> 1 req.header.If-Modified-Since"}},
		"a redacted value":                {[]*recording.Exchange{issueOf(0, `{"token":"REDACTED-0123456789abcdef"}`), useOf(9, "/", "Authorization", "Bearer REDACTED-0123456789abcdef")}, []string{"0 res.body.token -> 1 req.header.Authorization, behind the scheme"}},
		"a created id":                    {[]*recording.Exchange{exchange(0, "POST", "/v1/orders", "", 201, `{"id":7,"qty":3}`), useOf(9, "/v1/orders/7")}, []string{"0 res.body.id -> 1 req.path[2]"}},
		"the id of what is named":         {[]*recording.Exchange{issueOf(0, `{"order":{"id":7},"userId":8}`), useOf(9, "/orders/7?user_id=8")}, []string{"0 res.body.order.id -> 1 req.path[1]", "0 res.body.userId -> 1 req.query.user_id"}},
		"the id of an element":            {[]*recording.Exchange{exchange(0, "GET", "/orders", "", 200, `{"data":[{"id":7},{"id":8}]}`), useOf(9, "/orders/8")}, []string{"0 res.body.data[].id -> 1 req.path[1]"}},
		"the id of JSON:API":              {[]*recording.Exchange{exchange(0, "GET", "/orders/1", "", 200, `{"data":{"id":"7","relationships":{"customer":{"data":{"id":"8"}}}}}`), useOf(9, "/orders/7?customerId=8"), useOf(12, "/orders/8")}, []string{"0 res.body.data.id -> 1 req.path[1]", "0 res.body.data.relationships.customer.data.id -> 1 req.query.customerId"}},
		"the id of GraphQL":               {[]*recording.Exchange{exchange(0, "POST", "/graphql", "", 200, `{"data":{"createOrder":{"id":7}}}`), posted(9, "/graphql", "application/json", `{"variables":{"orderId":7}}`)}, []string{"0 res.body.data.createOrder.id -> 1 req.body.variables.orderId"}},
		"the items of a list":             {[]*recording.Exchange{exchange(0, "GET", "/orders", "", 200, `{"items":[{"id":7}]}`), useOf(9, "/orders/7")}, []string{"0 res.body.items[].id -> 1 req.path[1]"}},
		"data of a script":                {[]*recording.Exchange{issueOf(0, `<script id="state" type="application/json">{"csrf":"`+token+`"}</script>`, "<Content-Type", "text/html"), useOf(9, "/", "X-Csrf", token)}, []string{"0 res.body.script.state.csrf -> 1 req.header.X-Csrf"}},
		"a long state of a page":          {[]*recording.Exchange{issueOf(0, `<input type="hidden" name="__VIEWSTATE" value="`+strings.Repeat(token, 4000)+`">`, "<Content-Type", "text/html"), posted(9, "/", form, "__VIEWSTATE="+strings.Repeat(token, 4000))}, []string{"0 res.body.input.__VIEWSTATE -> 1 req.body.__VIEWSTATE"}},
		"in a list of a query":            {[]*recording.Exchange{issueOf(0, `{"a":[{"id":"`+uuid+`","orderId":7}]}`), useOf(9, "/?ids=x,"+uuid+"&order_ids=6%2C7")}, []string{"0 res.body.a[].id -> 1 req.query.ids[]", "0 res.body.a[].orderId -> 1 req.query.order_ids[]"}},
		"before a suffix":                 {[]*recording.Exchange{issueOf(0, `{"id":"`+uuid+`","orderId":7}`), useOf(9, "/x/"+uuid+".pdf"), useOf(12, "/orders/7:cancel")}, []string{"0 res.body.id -> 1 req.path[1], before a suffix", "0 res.body.orderId -> 2 req.path[1], before a suffix"}},
		"an id with letters":              {[]*recording.Exchange{issueOf(0, `{"orderNumber":"ORD-17"}`), posted(9, "/x", "application/json", `{"orderRef": "ORD-17"}`)}, []string{"0 res.body.orderNumber -> 1 req.body.orderRef"}},
		"who has signed up":               {[]*recording.Exchange{exchange(0, "POST", "/signup", "", 201, `{"id":7}`), useOf(9, "/users/7")}, []string{"0 res.body.id -> 1 req.path[1]"}},
		"a new id that was asked for":     {[]*recording.Exchange{exchange(0, "GET", "/orders/7", "", 404, ""), exchange(5, "POST", "/orders", "", 201, `{"id":7}`), useOf(9, "/orders/7")}, []string{"1 res.body.id -> 2 req.path[1]"}},
		"user and password of Basic":      {[]*recording.Exchange{issueOf(0, `{"k":"`+token+`","s":"`+uuid+`"}`), useOf(9, "/", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(token+":"+uuid)))}, []string{"0 res.body.k -> 1 req.header.Authorization, the user of Basic", "0 res.body.s -> 1 req.header.Authorization, the password of Basic"}},
		"an ETag without its quotes":      {[]*recording.Exchange{issueOf(0, "", "<Etag", `W/"`+token+`"`), posted(9, "/x", "application/json", `{"etag":"`+token+`"}`)}, []string{"0 res.header.Etag -> 1 req.body.etag"}},
		"parts of XML":                    {[]*recording.Exchange{issueOf(0, `<?xml version="1.0"?><a><b i="`+token+`"/><b i="`+uuid+`"/></a>`), posted(9, "/x", "text/xml", `<x:c xmlns:x="u"><x:d>`+uuid+`</x:d></x:c>`)}, []string{"0 res.body.a.b.@i -> 1 req.body.c.d"}},
		"an answer that came just before": {[]*recording.Exchange{issueOf(0, `{"id":"`+uuid+`"}`), useOf(1, "/things/"+uuid)}, []string{"0 res.body.id -> 1 req.path[1]"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, edgesOf(graphOf(c.steps...))); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsNotCarried(t *testing.T) {
	for name, steps := range map[string][]*recording.Exchange{
		"what the client made":               {exchange(0, "POST", "/things", `{"id":"`+uuid+`"}`, 201, `{"id":"`+uuid+`"}`), useOf(9, "/things/"+uuid)},
		"what another client made before":    {useOf(0, "/things/"+uuid, "Cookie", "sid=1"), issueOf(5, `{"id":"`+uuid+`"}`), useOf(9, "/things/"+uuid)},
		"what came too late":                 {issueOf(0, `{"id":"`+uuid+`"}`), useOf(0, "/things/"+uuid)},
		"a part of a value":                  {issueOf(0, `{"id":"`+uuid+`"}`), useOf(9, "/things/x-"+uuid)},
		"a short word":                       {issueOf(0, `{"state":"open"}`), useOf(9, "/things?state=open")},
		"names with digits":                  {issueOf(0, `{"a":"http2-h3-quic1","b":"eu-west-1a-tls1-ipv4-x86","c":"step1_of2_v3"}`), useOf(9, "/?a=http2-h3-quic1&b=eu-west-1a-tls1-ipv4-x86&c=step1_of2_v3")},
		"an enum":                            {issueOf(0, `{"state":"PENDING_REVIEW","code":"PENDING_REVIEW"}`), useOf(9, "/things?state=PENDING_REVIEW")},
		"a boolean":                          {issueOf(0, `{"id":true}`), useOf(9, "/things/true")},
		"a word behind an id's name":         {issueOf(0, `{"categoryId":"electronics"}`), useOf(9, "/categories/electronics")},
		"a date":                             {issueOf(0, `{"id":"2026-11-29"}`), useOf(9, "/days/2026-11-29")},
		"a time":                             {issueOf(0, `{"token":"2026-11-29T10:00:00.123Z"}`), useOf(9, "/things?token=2026-11-29T10:00:00.123Z")},
		"a time as a number":                 {issueOf(0, `{"token":1795946400123}`), useOf(9, "/things?token=1795946400123")},
		"a date of HTTP":                     {issueOf(0, `{"since":"Sun, 29 Nov 2026 10:00:00 GMT"}`), useOf(9, "/", "X-Since", "Sun, 29 Nov 2026 10:00:00 GMT")},
		"a host":                             {issueOf(0, `{"token":"eu1.api4.example.com"}`), useOf(9, "/", "X-Token", "eu1.api4.example.com")},
		"a host that JWTs look like":         {issueOf(0, `{"token":"api.nasa.gov"}`), useOf(9, "/", "X-Token", "api.nasa.gov")},
		"a host of a pod":                    {issueOf(0, `{"id":"shop-7f9c8b6d5-x2x4z.shop.svc.cluster.local:8080"}`), useOf(9, "/", "X-Shop", "shop-7f9c8b6d5-x2x4z.shop.svc.cluster.local:8080")},
		"the host of a URL":                  {issueOf(0, `{"next":"https://q8zkt0vxw2lrb5nd.example.com/x"}`), useOf(9, "/?h=https://q8zkt0vxw2lrb5nd.example.com/x")},
		"the Host":                           {issueOf(0, `{"h":"`+token+`"}`), useOf(9, "/", "Host", token)},
		"an address":                         {issueOf(0, `{"id":"203.0.113.42"}`), useOf(9, "/hosts/203.0.113.42")},
		"a version":                          {issueOf(0, `{"version":"v1.24.3-rc1.20261129"}`), useOf(9, "/?version=v1.24.3-rc1.20261129")},
		"a program":                          {issueOf(0, `{"key":"nginx/1.25.3"}`), useOf(9, "/", "X-Key", "nginx/1.25.3")},
		"a locale":                           {issueOf(0, `{"key":"zh-Hant-TW"}`), useOf(9, "/?key=zh-Hant-TW")},
		"a price":                            {issueOf(0, `{"id":"1299.00","token":1299.95,"key":"EUR12999.95"}`), useOf(9, "/?id=1299.00&token=1299.95&key=EUR12999.95")},
		"a media type":                       {issueOf(0, `{"key":"application/vnd.shop.v2+json"}`), useOf(9, "/?key=application/vnd.shop.v2%2Bjson")},
		"a phone number":                     {issueOf(0, `{"id":"+4930123456789"}`), useOf(9, "/?id=%2B4930123456789")},
		"a mail address":                     {issueOf(0, `{"id":"anne12x4z@example.com"}`), useOf(9, "/?id=anne12x4z@example.com")},
		"a slug":                             {issueOf(0, `{"key":"blue-shirt-2026"}`), useOf(9, "/?key=blue-shirt-2026")},
		"a number that is no id":             {exchange(0, "POST", "/orders", "", 201, `{"qty":7}`), useOf(9, "/orders/7")},
		"the id of another kind of thing":    {issueOf(0, `{"userId":7}`), useOf(9, "/products/7")},
		"a number in a segment of no kind":   {issueOf(0, `{"orderId":7}`), useOf(9, "/v1/7")},
		"an id where no id belongs":          {issueOf(0, `{"orderId":7}`), useOf(9, "/orders?page=7&order=7")},
		"the id of a thing within":           {exchange(0, "GET", "/orders/1", "", 200, `{"lines":[{"id":7}]}`), useOf(9, "/orders/7")},
		"the items of something else":        {exchange(0, "GET", "/x", "", 200, `{"order":{"items":[{"id":7}]}}`), useOf(9, "/orders/7")},
		"an id that another session created": {exchange(0, "POST", "/orders", "", 201, `{"id":7}`, "Cookie", "sid=1"), useOf(9, "/orders/7", "Cookie", "sid=2")},
		"a validator of another object":      {useOf(0, "/a", "<Etag", `"1"`), useOf(9, "/b", "If-None-Match", `"1"`)},
		"a cookie under another name":        {issueOf(0, "", "<Set-Cookie", "a=1"), useOf(9, "/", "Cookie", "b=1")},
		"a cookie that is taken back":        {issueOf(0, "", "<Set-Cookie", "a=; Max-Age=0"), useOf(9, "/", "Cookie", "a=")},
		"what only a trace says":             {issueOf(0, `{"t":"4bf92f3577b34da6a3ce929d0e0e4736"}`), useOf(9, "/", "X-B3-Traceid", "4bf92f3577b34da6a3ce929d0e0e4736")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := edgesOf(graphOf(steps...)); got != nil {
				t.Errorf("carried: %q", got)
			}
		})
	}
}

// A value that several sessions were given is carried within each of them. If another session sends
// it, the value is left unchanged there, and reported.
func TestSessionsGetTheirOwn(t *testing.T) {
	list := `{"items":[{"id":"` + uuid + `"}]}`
	g := graphOf(
		issueOf(0, list, "Cookie", "sid=1"), issueOf(2, list, "Cookie", "sid=2"), issueOf(4, list, "Cookie", "sid=1"), issueOf(6, list, "Cookie", "sid=3"),
		useOf(20, "/items/"+uuid, "Cookie", "sid=1"), useOf(22, "/items/"+uuid, "Cookie", "sid=2"), useOf(24, "/items/"+uuid, "Cookie", "sid=4"),
	)
	want := []string{"2 res.body.items[].id -> 4 req.path[1]", "1 res.body.items[].id -> 5 req.path[1]"}
	if diff := cmp.Diff(want, edgesOf(g)); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
	wantAmbiguous := []Ambiguous{{Endpoint: "GET /items/{id}", Consumer: "req.path[1]", IssuerEndpoint: "GET /issuer", Issuer: "res.body.items[].id", Class: "uuid",
		Reason: "several other sessions were given this value, but not this one", Step: 6, Count: 1}}
	if diff := cmp.Diff(wantAmbiguous, g.Ambiguous()); diff != "" {
		t.Errorf("ambiguous (-want +got):\n%s", diff)
	}
	for step, want := range []int{0, 1, 0, 3, 0, 1, 6} {
		if got := g.Session(step); got != want {
			t.Errorf("step %d is in session %d, want %d", step, got, want)
		}
	}
}

// A session is recognised by the values that its client was given.
func TestSessions(t *testing.T) {
	onConnection := func(e *recording.Exchange, id, by string) *recording.Exchange {
		e.NetInfo = &recording.NetInfo{ID: id}
		e.Tags.Set(recording.TagPeerBy, by)
		return e
	}
	for name, c := range map[string]struct {
		steps []*recording.Exchange
		want  []int
	}{
		"by the cookie that a login sets":     {[]*recording.Exchange{issueOf(0, "", "<Set-Cookie", "sid=1"), issueOf(2, "", "<Set-Cookie", "sid=2"), useOf(9, "/", "Cookie", "sid=1"), useOf(12, "/", "Cookie", "sid=2")}, []int{0, 1, 0, 1}},
		"by a cookie from before":             {[]*recording.Exchange{useOf(0, "/", "Cookie", "sid=1"), useOf(2, "/", "Cookie", "sid=2"), useOf(4, "/", "Cookie", "sid=1")}, []int{0, 1, 0}},
		"by the cookie, if a key is shared":   {[]*recording.Exchange{useOf(0, "/", "Cookie", "sid=1", "X-Api-Key", "k"), useOf(2, "/", "Cookie", "sid=2", "X-Api-Key", "k")}, []int{0, 1}},
		"by the token that a refresh gave":    {[]*recording.Exchange{useOf(0, "/", "Authorization", "Bearer "+uuid), exchange(2, "POST", "/token", "", 200, `{"t":"`+token+`"}`, "Authorization", "Bearer "+uuid), useOf(9, "/", "Authorization", "Bearer "+token)}, []int{0, 0, 0}},
		"by a connection of the caller's own": {[]*recording.Exchange{onConnection(useOf(0, "/"), "1", "address"), onConnection(useOf(2, "/"), "1", "address"), onConnection(useOf(4, "/"), "2", "address")}, []int{0, 0, 2}},
		"not by one of a proxy":               {[]*recording.Exchange{onConnection(useOf(0, "/"), "1", "x-forwarded-for"), onConnection(useOf(2, "/"), "1", "x-forwarded-for")}, []int{0, 1}},
		"not by one that several callers use": {[]*recording.Exchange{onConnection(useOf(0, "/", "Cookie", "sid=1"), "1", "address"), onConnection(useOf(2, "/", "Cookie", "sid=2"), "1", "address"), onConnection(useOf(4, "/"), "1", "address")}, []int{0, 1, 2}},
		"not by a thing that both know":       {[]*recording.Exchange{exchange(0, "POST", "/docs", "", 201, `{"id":"`+uuid+`"}`, "Cookie", "sid=1"), useOf(9, "/docs/"+uuid, "Cookie", "sid=2")}, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			g := graphOf(c.steps...)
			var got []int
			for i := range g.Steps() {
				got = append(got, g.Session(i))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("sessions %v, want %v", got, c.want)
			}
		})
	}
}

// A request waits for the latest writes of its session to the same object.
func TestAfter(t *testing.T) {
	in := func(ms int, method, uri, session string) *recording.Exchange {
		return exchange(ms, method, uri, "", 200, "", "Cookie", "sid="+session)
	}
	long := in(20, "PUT", "/carts/1", "a")
	long.Duration = 10
	grpc := func(ms int, path string) *recording.Exchange {
		e := in(ms, "POST", path, "a")
		e.GRPC = &recording.Conversation{}
		return e
	}
	for name, c := range map[string]struct {
		steps []*recording.Exchange
		want  [][]int
	}{
		"a read after a write":                 {[]*recording.Exchange{in(0, "POST", "/carts/1/items", "a"), in(5, "GET", "/carts/1", "a")}, [][]int{nil, {0}}},
		"below what was written":               {[]*recording.Exchange{in(0, "PUT", "/carts/1", "a"), in(5, "GET", "/carts/1/items", "a")}, [][]int{nil, {0}}},
		"not of another object":                {[]*recording.Exchange{in(0, "PUT", "/carts/1", "a"), in(5, "GET", "/carts/12", "a")}, [][]int{nil, nil}},
		"not of another session":               {[]*recording.Exchange{in(0, "PUT", "/carts/1", "a"), in(5, "GET", "/carts/1", "b")}, [][]int{nil, nil}},
		"not of a read":                        {[]*recording.Exchange{in(0, "GET", "/carts/1", "a"), in(5, "PUT", "/carts/1", "a")}, [][]int{nil, nil}},
		"only the latest of a chain":           {[]*recording.Exchange{in(0, "PUT", "/carts/1", "a"), in(5, "PUT", "/carts/1", "a"), in(9, "GET", "/carts/1", "a")}, [][]int{nil, {0}, {1}}},
		"all that ran at once":                 {[]*recording.Exchange{in(0, "PUT", "/carts/1", "a"), in(20, "PUT", "/carts/1", "a"), long, in(40, "GET", "/carts/1", "a")}, [][]int{nil, {0}, {0}, {1, 2}}},
		"not what was not answered":            {[]*recording.Exchange{long, in(25, "GET", "/carts/1", "a")}, [][]int{nil, nil}},
		"a service of gRPC":                    {[]*recording.Exchange{grpc(0, "/shop.Cart/AddItem"), grpc(5, "/shop.Cart/GetCart"), grpc(9, "/shop.Cart/GetCart")}, [][]int{nil, {0}, {0}}},
		"also what issued something, but once": {[]*recording.Exchange{exchange(0, "POST", "/carts", "", 201, `{"id":"`+uuid+`"}`, "Cookie", "sid=a"), in(5, "GET", "/carts/"+uuid, "a")}, [][]int{nil, {0}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := graphOf(c.steps...)
			for i, want := range c.want {
				if got := g.After(i); !slices.Equal(got, want) {
					t.Errorf("step %d waits for %v, want %v", i, got, want)
				}
			}
		})
	}
}
