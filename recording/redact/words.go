package redact

import "strings"

// form says which part of a value is secret.
type form uint8

const (
	plain     form = iota // none of it, unless a secret is written in it
	whole                 // all of it
	scheme                // what follows the authentication scheme: Bearer …
	challenge             // what follows the scheme, if that is no list of parameters
	cookies               // the values of a=…; b=…
	setCookie             // the value of a=…, not its attributes
	protocols             // what in a list of WebSocket protocols isn't the name of one
	link                  // user information and secret parameters of a URL
)

// place is a set of places that have names.
type place uint8

const (
	inHeader    place = 1 << iota // a header, a trailer or a key of gRPC metadata
	inParameter                   // a parameter: of a query, a path, a fragment, a header's value
	inPath                        // a segment of a path: it names the segment that follows
	places      = 3
	anyName     = inHeader | inParameter
)

// position says where in a name the words stand.
type position uint8

const (
	anywhere position = iota
	atEnd             // digits and `bin` may follow
	alone             // nothing else is in the name, or in a part such as [password]
)

// words is the one table of what names say of their values. Names are split into
// words, at whatever is no letter, where a capital begins a word, and, in lower
// case, into the words of this table. A row with the form [plain] is an exception:
// it takes back what another row says of the same words. Every other row says
// what is secret of a value.
var words = []struct {
	form form
	in   place
	at   position
	list string // words, or runs of words joined by dashes
}{
	{whole, anyName, anywhere, `token secret secrets password passwords passwd pwd passphrase passcode credential credentials creds
		signature hmac jwt jws jwe saml samlresponse samlrequest samlart assertion bearer csrf xsrf otp totp crumb wsse dpop verifier
		apikey sessid jsessionid phpsessid mnemonic cvv cvc hdnts hdnea hdntl dsn macaroon webauthn captcha recaptcha hcaptcha appcheck wpnonce psk ssn
		passwort kennwort contrasena contraseña contrasenya senha palavra-passe wachtwoord motdepasse mot-de-passe haslo hasło heslo пароль парола
		parola sifre şifre salasana losenord lösenord passord adgangskode jelszo jelszó lozinka geslo パスワード 密码 密碼 비밀번호 wskey
		api-key access-key secret-key private-key session-id session-key session-token access-token auth-token api-token id-token refresh-token
		client-key encryption-key signing-key account-key auth-code authorization-code device-code user-code verification-code recovery-code
		reset-code access-code backup-code login-code security-code invite-code sms-code mfa-code fa-code email-code one-time-code one-time-pass client-assertion connection-string connect-sid registry-config
		oidc-data authentication-info magic-link seed-phrase recovery-phrase auth-ticket login-ticket service-ticket
		signed-request app-check honeycomb-team card-number cc-number ccnumber activation-code phone-code security-answer secret-answer
		pswd pword access-sign api-sign bapi-sign chkp-sid qnap-sid jfrog-art-api protection-bypass telegram-init-data`},
	{whole, anyName, atEnd, `key auth oauth authentication authenticator session sess sig sas pass pw psw pin cookie cookies cred authn nonce mfa
		authkey otp nonce-secret ticket-granting`},
	{whole, inParameter, anywhere, `authorization`},
	{whole, anyName, alone, `sid`},
	{whole, inParameter, alone, `code tk tgt pgtiou pgtid wresult`},
	{whole, anyName, alone, `ticket sign clave mdp`},
	{whole, inPath, atEnd, `token secret password passwd otp jwt api-key apikey access-key secret-key private-key session-id jsessionid
		reset-password password-reset forgot-password set-password verify-email email-verify email-verification verify-account confirm-email
		email-confirm email-confirmation magic-link magic-login one-time-login unsubscribe activate activation invite invitation confirm confirmation verify session`},
	{scheme, inHeader, anywhere, `authorization`},
	{challenge, inHeader, alone, `www-authenticate proxy-authenticate`},
	{cookies, inHeader, alone, `cookie cookie-2`},
	{setCookie, inHeader, alone, `set-cookie set-cookie-2`},
	{protocols, inHeader, alone, `sec-websocket-protocol`},
	{link, inHeader, alone, `content-location envoy-original-path forwarded-host forwarded-uri host location original-host original-uri original-url
		referer referrer rewrite-url`},
	{plain, anyName, anywhere, `page-token next-token continuation-token sync-token skip-token cursor-token pagination-token start-token
		idempotency-key cache-key partition-key sort-key primary-key public-key foreign-key surrogate-key websocket-key web-socket-key routing-key row-key
		range-key hash-key group-key dedup-key deduplication-key shard-key message-key object-key order-key unique-key translation-key
		allow-credentials credentials-mode password-hint`},
	{plain, inPath, anywhere, `page-token next-token`},
}

// attributes end names that say something about a secret, such as token-type:
// words before them are not secret.
const attributes = `type types method methods version algorithm alg length count expires expiry expiration expire ttl lifetime endpoint
	url uri name enabled required supported policy status error limit remaining format size max min usage level mode provider issuer
	audience scope scopes age outcome in at`

// qualifiers are further words that names without any separator are made of.
const qualifiers = `access account acme admin amz api app application aws azure basic bot card callback client cloud confirm confirmation consumer
	current customer data db deploy device email encryption function functions git github gitlab google goog grant hub id identity internal jwt key license login
	master max my new next num number old page personal php private proxy public push read refresh registration request reset response root
	security service session shared sign signing site start subscription swagger sync system team temp test two user username value vault
	verification web webhook write x`

// glued are words that are recognized at either end of a longer word that can't
// be split: they are the end, or the beginning, of hardly any other word.
var (
	gluedEnds = strings.Fields(`token secret password passwd passphrase passcode signature credential credentials apikey accesskey secretkey
		privatekey sessionid sessid hmac jwt pwd authorization`)
	gluedBeginnings = strings.Fields(`password passwd apikey accesstoken authtoken secretkey`)
)
