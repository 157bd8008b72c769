package carry_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// shop is an application that issues values of many kinds and insists on getting them back. Two
// shops with different seeds issue different values. Values that are not ids, such as prices and
// versions, differ between them, too, so that a replay that carries them fails.
type shop struct {
	http.Handler
	mu     sync.Mutex
	random *rand.Rand
	number int

	csrf, sids, codes, access, refresh, uploads, keys map[string]string // user by value
	orders, docs, etags, cursors, parts               map[string]string
	users                                             map[string]int
	price                                             int
}

func newShop(seed uint64) *shop {
	s := &shop{random: rand.New(rand.NewPCG(seed, seed)), number: int(seed%1000) + 3, users: map[string]int{}}
	for _, m := range []*map[string]string{&s.csrf, &s.sids, &s.codes, &s.access, &s.refresh, &s.uploads, &s.keys, &s.orders, &s.docs, &s.etags, &s.cursors, &s.parts} {
		*m = map[string]string{}
	}
	s.price = 1200 + int(seed)
	mux := http.NewServeMux()
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /login": s.loginPage, "POST /login": s.login, "GET /account": s.account, "POST /account/email": s.email,
		"GET /oauth/authorize": s.authorize, "POST /oauth/token": s.token, "GET /api/me": s.me, "GET /api/users/{id}": s.user,
		"GET /api/config": s.config, "GET /api/products/{id}": s.product, "GET /api/search": s.search,
		"POST /api/orders": s.order, "GET /api/orders/{id}": s.getOrder, "POST /api/orders/{id}/lines": s.line, "DELETE /api/orders/{id}/lines/{line}": s.getOrder,
		"GET /api/items": s.items, "GET /api/events": s.events,
		"POST /api/docs": s.doc, "GET /api/docs/{id}": s.getDoc, "PUT /api/docs/{id}": s.putDoc,
		"POST /uploads": s.upload, "PUT /uploads/{id}/parts/{n}": s.part, "POST /uploads/{id}/complete": s.complete, "POST /uploads/attach": s.attach,
		"POST /soap": s.soap, "POST /keys": s.key, "GET /secure": s.secure,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			h(w, r)
		})
	}
	s.Handler = mux
	return s
}

func (s *shop) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	return b
}

func (s *shop) opaque(n int) string { return base64.RawURLEncoding.EncodeToString(s.bytes(n)) }

func (s *shop) uuid() string {
	b := s.bytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *shop) next() int {
	s.number += 1 + s.random.IntN(5)
	return s.number
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// has answers 403 unless the value was issued.
func has(w http.ResponseWriter, issued map[string]string, value string) bool {
	if _, ok := issued[value]; !ok {
		http.Error(w, "not issued", http.StatusForbidden)
		return false
	}
	return true
}

func (s *shop) loginPage(w http.ResponseWriter, _ *http.Request) {
	field, cookie := s.opaque(18), s.opaque(12)
	s.csrf[field] = cookie
	http.SetCookie(w, &http.Cookie{Name: "csrf", Value: cookie})
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<html><body><form action="/login" method="post"><input type="hidden" name="lang" value="en-US"><input type=hidden name="csrf_token" value="%s"><input name="user"></form></body></html>`, html.EscapeString(field))
}

func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie("csrf")
	if err != nil || s.csrf[r.FormValue("csrf_token")] != cookie.Value || r.FormValue("password") != "correct horse" {
		http.Error(w, "no csrf", http.StatusForbidden)
		return
	}
	delete(s.csrf, r.FormValue("csrf_token"))
	sid := "s%3A" + s.opaque(20)
	s.sids[sid] = r.FormValue("user")
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid, HttpOnly: true})
	http.SetCookie(w, &http.Cookie{Name: "seat", Value: strconv.Itoa(s.next())})
	w.Header().Set("Location", "/account")
	w.WriteHeader(http.StatusFound)
}

func (s *shop) account(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie("sid")
	if err != nil || !has(w, s.sids, cookie.Value) {
		return
	}
	token := s.opaque(24)
	s.csrf[token] = cookie.Value
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<html><head><meta name="csrf-token" content="%s"><meta name="generator" content="Shop 1.24.%d"></head></html>`, token, s.price)
}

func (s *shop) email(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie("sid")
	if err != nil || s.csrf[r.Header.Get("X-Csrf-Token")] != cookie.Value {
		http.Error(w, "no csrf", http.StatusForbidden)
		return
	}
	if seat, err := r.Cookie("seat"); err != nil || seat.Value == "" {
		http.Error(w, "no seat", http.StatusForbidden)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *shop) authorize(w http.ResponseWriter, r *http.Request) {
	code := s.opaque(16)
	s.codes[code] = r.FormValue("login_hint")
	w.Header().Set("Location", "https://client.example.com/callback?code="+code+"&state="+r.FormValue("state"))
	w.WriteHeader(http.StatusFound)
}

func (s *shop) token(w http.ResponseWriter, r *http.Request) {
	from := s.codes
	value := r.FormValue("code")
	if r.FormValue("grant_type") == "refresh_token" {
		from, value = s.refresh, r.FormValue("refresh_token")
	}
	if !has(w, from, value) {
		return
	}
	user := from[value]
	delete(from, value)
	claims := fmt.Sprintf(`{"sub":%q,"jti":%q}`, user, s.opaque(6))
	access := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + s.opaque(32)
	refresh := s.opaque(30)
	s.access[access], s.refresh[refresh] = user, user
	if s.users[user] == 0 {
		s.users[user] = s.next()
	}
	answer(w, 200, map[string]any{"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": s.price, "scope": "orders:read"})
}

// bearer returns the user of a request's token, and answers 401 if there is none.
func (s *shop) bearer(w http.ResponseWriter, r *http.Request) (user string, ok bool) {
	user, ok = s.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		http.Error(w, "no token", http.StatusUnauthorized)
	}
	return user, ok
}

func (s *shop) me(w http.ResponseWriter, r *http.Request) {
	if user, ok := s.bearer(w, r); ok {
		answer(w, 200, map[string]any{"userId": s.users[user], "name": user, "plan": "TEAM_2024_PLUS", "since": time.Unix(int64(1_700_000_000+s.price*86400), 0).UTC().Format(time.DateOnly)})
	}
}

func (s *shop) user(w http.ResponseWriter, r *http.Request) {
	if user, ok := s.bearer(w, r); ok && r.PathValue("id") != strconv.Itoa(s.users[user]) {
		http.Error(w, "not yours", http.StatusForbidden)
	}
}

// config answers with values that must not be carried: each looks like something that the client
// sends afterwards, and equals it in the recording.
func (s *shop) config(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, map[string]any{
		"apiHost": fmt.Sprintf("api%d.example.com", s.price), "version": fmt.Sprintf("2.%d.0-rc1", s.price), "build": fmt.Sprintf("v%d.4.2", s.price),
		"price": fmt.Sprintf("%d.00", s.price), "amount": s.price, "currencyPrice": fmt.Sprintf("EUR %d.50", s.price), "quantity": s.price, "tableId": s.price, "pageSize": s.price,
		"from": time.Unix(int64(1_780_000_000+s.price*86400), 0).UTC().Format(time.RFC3339), "day": time.Unix(int64(1_780_000_000+s.price*86400), 0).UTC().Format(time.DateOnly),
		"locale": []string{"", "de-DE-x-1201", "en-US-x-1202"}[s.price-1200], "status": fmt.Sprintf("PENDING_%d_DAYS", s.price), "media": fmt.Sprintf("application/vnd.shop.v%d+json", s.price),
		"featured": []int{s.price, s.price + 1}, "ip": fmt.Sprintf("10.0.%d.17", s.price-1100), "phone": fmt.Sprintf("+49-30-12%d56", s.price), "mail": fmt.Sprintf("info%d@example.com", s.price),
		"epoch": 1_780_000_000 + s.price, "ok": s.price%2 == 1, "agent": fmt.Sprintf("shop/1.%d.0", s.price), "sku": fmt.Sprintf("blue-shirt-%d", s.price),
	})
}

func (s *shop) search(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, map[string]any{"hits": 0})
}
func (s *shop) product(w http.ResponseWriter, _ *http.Request) {
	answer(w, 200, map[string]any{"stock": s.price})
}

func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	user, ok := s.bearer(w, r)
	if !ok {
		return
	}
	id := strconv.Itoa(s.next())
	s.orders[id] = user
	w.Header().Set("Location", "/api/orders/"+id)
	answer(w, 201, map[string]any{"id": json.Number(id), "total": s.price, "position": s.next()})
}

func (s *shop) getOrder(w http.ResponseWriter, r *http.Request) {
	if user, ok := s.bearer(w, r); ok && s.orders[r.PathValue("id")] != user {
		http.Error(w, "no such order", http.StatusNotFound)
		return
	}
	if line := r.PathValue("line"); line != "" && s.orders["line "+line] != r.PathValue("id") {
		http.Error(w, "no such line", http.StatusNotFound)
	}
}

func (s *shop) line(w http.ResponseWriter, r *http.Request) {
	var in struct {
		OrderID json.Number `json:"orderId"`
	}
	json.NewDecoder(r.Body).Decode(&in)
	if id := r.PathValue("id"); s.orders[id] == "" || in.OrderID.String() != id {
		http.Error(w, "no such order", http.StatusNotFound)
		return
	}
	line := strconv.Itoa(s.next())
	s.orders["line "+line] = r.PathValue("id")
	answer(w, 201, map[string]any{"line": map[string]any{"id": json.Number(line), "qty": 2}})
}

// items returns pages. Their cursors are in a URL in the body, and in a header.
func (s *shop) items(w http.ResponseWriter, r *http.Request) {
	page := 0
	if c := r.FormValue("cursor"); c != "" {
		if !has(w, s.cursors, c) {
			return
		}
		page, _ = strconv.Atoi(s.cursors[c])
	}
	out := map[string]any{"items": []any{map[string]any{"sku": s.uuid(), "price": s.price}}}
	if page < 3 {
		cursor := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"o":%d,"k":"%x"}`, page, s.bytes(4)))
		s.cursors[cursor] = strconv.Itoa(page + 1)
		next := "/api/items?limit=1&cursor=" + strings.NewReplacer("=", "%3D", "+", "%2B", "/", "%2F").Replace(cursor)
		out["next"] = "https://" + r.Host + next
		w.Header().Set("Link", "<"+next+`>; rel="next", </api/items>; rel="first"`)
	}
	answer(w, 200, out)
}

func (s *shop) events(w http.ResponseWriter, r *http.Request) {
	if after := r.FormValue("after"); after != "" && !has(w, s.cursors, after) {
		return
	}
	token := s.opaque(9)
	s.cursors[token] = "event"
	answer(w, 200, map[string]any{"events": []int{}, "nextPageToken": token})
}

func (s *shop) doc(w http.ResponseWriter, r *http.Request) {
	id := s.uuid()
	s.docs[id], s.etags[id] = "", `W/"`+strconv.Itoa(s.next())+`"`
	w.Header().Set("Etag", s.etags[id])
	w.Header().Set("Location", "http://"+r.Host+"/api/docs/"+id)
	answer(w, 201, map[string]any{"data": map[string]any{"id": id, "type": "docs"}, "meta": map[string]any{"requestId": s.uuid()}})
}

func (s *shop) getDoc(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if has(w, s.docs, id) {
		w.Header().Set("Etag", s.etags[id])
		answer(w, 200, map[string]any{"id": id})
	}
}

func (s *shop) putDoc(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	var in struct{ ID, Title string }
	json.NewDecoder(r.Body).Decode(&in)
	switch {
	case !has(w, s.docs, id):
	case in.ID != id:
		http.Error(w, "another id", http.StatusConflict)
	case r.Header.Get("If-Match") != s.etags[id]:
		http.Error(w, "changed", http.StatusPreconditionFailed)
	default:
		s.etags[id] = `"` + strconv.Itoa(s.next()) + `"`
		w.Header().Set("Etag", s.etags[id])
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *shop) upload(w http.ResponseWriter, r *http.Request) {
	id, sig := s.opaque(12), s.opaque(20)
	s.uploads[id] = sig
	answer(w, 200, map[string]any{"uploadId": id, "partSize": s.price, "urls": []string{
		"https://" + r.Host + "/uploads/" + id + "/parts/1?sig=" + sig, "https://" + r.Host + "/uploads/" + id + "/parts/2?sig=" + sig}})
}

func (s *shop) part(w http.ResponseWriter, r *http.Request) {
	if id := r.PathValue("id"); s.uploads[id] == "" || s.uploads[id] != r.FormValue("sig") {
		http.Error(w, "no such upload", http.StatusForbidden)
		return
	}
	etag := fmt.Sprintf("%x", s.bytes(16))
	s.parts[r.PathValue("id")] += etag + ";"
	w.Header().Set("Etag", `"`+etag+`"`)
}

func (s *shop) complete(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Parts []struct{ ETag string }
	}
	json.NewDecoder(r.Body).Decode(&in)
	all := ""
	for _, p := range in.Parts {
		all += p.ETag + ";"
	}
	if all == "" || all != s.parts[r.PathValue("id")] {
		http.Error(w, "other parts", http.StatusConflict)
	}
}

func (s *shop) attach(w http.ResponseWriter, r *http.Request) {
	if has(w, s.uploads, r.FormValue("upload_id")) {
		answer(w, 200, map[string]any{"attached": true})
	}
}

func (s *shop) soap(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Body struct {
			Login *struct{} `xml:"Login"`
			List  *struct {
				Ticket string `xml:"ticket,attr"`
				Case   string `xml:"caseRef"`
			} `xml:"List"`
		} `xml:"Body"`
	}
	body, _ := io.ReadAll(r.Body)
	if err := xml.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	if in.Body.Login != nil {
		ticket, ref := s.opaque(15)+"&<"[:s.random.IntN(2)], fmt.Sprintf("C-%d", s.next())
		s.keys[ticket], s.keys[ref] = "soap", "case"
		var b bytes.Buffer
		xml.EscapeText(&b, []byte(ticket))
		fmt.Fprintf(w, `<e:Envelope xmlns:e="urn:e"><e:Body><LoginResult><ticket>%s</ticket><case caseRef="%s"/></LoginResult></e:Body></e:Envelope>`, b.String(), ref)
		return
	}
	if in.Body.List == nil || s.keys[in.Body.List.Ticket] != "soap" || s.keys[strings.TrimSpace(in.Body.List.Case)] != "case" {
		http.Error(w, "no ticket", http.StatusForbidden)
	}
}

func (s *shop) key(w http.ResponseWriter, _ *http.Request) {
	id, secret := "ak_"+s.opaque(9), s.opaque(21)
	s.keys[id+":"+secret] = id
	answer(w, 201, map[string]any{"keyId": id, "secret": secret})
}

func (s *shop) secure(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	has(w, s.keys, user+":"+password)
}
