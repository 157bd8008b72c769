package redact

import "strings"

// form defines which part of a value is secret.
type form uint8

const (
	plain     form = iota // none of it, unless a secret is written in it
	scrambled             // all of it, if it looks random and is not a UUID
	random                // all of it, if it looks random
	mixed                 // all of it, if it looks random, or has at least twelve characters with letters and digits
	oneTime               // all of it, if it looks random, or has six digits and is in a request
	scheme                // what follows the authentication scheme: Bearer …
	challenge             // what follows the scheme, unless that is a list of parameters
	cookies               // the values of a=…; b=…
	setCookie             // the value of a=…, not its attributes
	protocols             // the elements of a list of WebSocket protocols that aren't names of protocols
	link                  // user information and secret parameters of a URL
	whole                 // all of it
)

// place is a set of places that have names.
type place uint8

const (
	inHeader    place = 1 << iota // a header, a trailer or a key of gRPC metadata
	inParameter                   // a parameter: of a query, a form, a path, a fragment, a header's value
	inBody                        // a JSON member, an XML element or attribute, a part of a multipart body, a GraphQL argument
	inPath                        // a segment of a path that names the next segment
	allPlaces   = 4
	anyField    = inHeader | inParameter
	anyName     = anyField | inBody
)

// position defines where in a name the words must be.
type position uint8

const (
	anywhere position = iota
	atEnd             // digits and `bin` may follow
	alone             // the name, or a part such as [password], has no other words
)

// numbers defines whether numbers are secret, too, in formats with numbers: in `"pin": 1234` the number
// is secret, in `"code": 404` it is not.
type numbers bool

const (
	textOnly    numbers = false
	alsoNumbers numbers = true
)

// words is the table of names whose values are secret, by place. Names are split into words at every
// character that is not a letter, where a capital begins a word, and, in lower case, into the words of
// this table. A row with the form [plain] is an exception to other rows with the same words. Every other
// row defines which part of a value is secret. Bodies have far more names than headers and parameters,
// so some rows are weaker there.
var words = []struct {
	form    form
	in      place
	at      position
	numbers numbers
	list    string // words, or runs of words joined by dashes
}{
	{whole, anyName, anywhere, textOnly, `token secret secrets credential credentials creds
		signature hmac jwt jws jwe saml samlresponse samlrequest samlart assertion bearer csrf xsrf crumb wsse dpop verifier
		apikey sessid jsessionid phpsessid mnemonic hdnts hdnea hdntl dsn macaroon webauthn captcha recaptcha hcaptcha appcheck wpnonce psk wskey
		api-key access-key secret-key private-key session-id session-key session-token access-token auth-token api-token id-token refresh-token id-token-hint
		client-key encryption-key signing-key account-key client-assertion connection-string connect-sid registry-config
		oidc-data authentication-info magic-link seed-phrase recovery-phrase auth-ticket login-ticket service-ticket
		signed-request app-check honeycomb-team access-sign api-sign bapi-sign chkp-sid qnap-sid jfrog-art-api protection-bypass telegram-init-data`},
	{whole, anyName, anywhere, alsoNumbers, `password passwords passwd pwd pswd pword passphrase passcode otp totp cvv cvc ssn
		passwort kennwort contrasena contraseña contrasenya senha palavra-passe wachtwoord motdepasse mot-de-passe haslo hasło heslo пароль парола
		parola sifre şifre salasana losenord lösenord passord adgangskode jelszo jelszó lozinka geslo パスワード 密码 密碼 비밀번호
		auth-code authorization-code device-code user-code verification-code recovery-code reset-code access-code backup-code login-code security-code
		invite-code sms-code mfa-code fa-code email-code one-time-code one-time-pass activation-code security-answer secret-answer
		card-number cc-number ccnumber`},
	{whole, anyName, atEnd, alsoNumbers, `pass pw psw pin otp`},
	{whole, anyName, atEnd, textOnly, `cred authkey nonce-secret master-key subscription-key license-key shared-key stream-key consumer-key application-key`},
	{whole, anyName, alone, textOnly, `mdp pgtiou pgtid wresult`},
	{whole, anyField, anywhere, textOnly, `phone-code`},
	{whole, anyField, atEnd, textOnly, `key auth oauth authentication authenticator session sess sig sas cookie cookies authn nonce mfa ticket-granting`},
	{whole, anyField, alone, textOnly, `sid ticket sign clave`},
	{whole, inParameter, anywhere, textOnly, `authorization`},
	{whole, inParameter, alone, textOnly, `code tk tgt`},
	{random, inBody, atEnd, textOnly, `auth oauth authentication authenticator session sess sig sas authn nonce mfa ticket-granting`},
	{whole, inBody, atEnd, textOnly, `recovery-token backup-token login-token device-token push-token registration-token verification-token activation-token
		invite-token invitation-token password-reset-token bot-token deploy-token personal-token`},
	{mixed, inBody, atEnd, textOnly, `tokens`},
	{scrambled, inBody, atEnd, textOnly, `key`},
	{scrambled, inBody, alone, textOnly, `sid ticket sign clave tk tgt`},
	{oneTime, inBody, alone, textOnly, `code`},
	{whole, inPath, atEnd, textOnly, `token secret password passwd otp jwt api-key apikey access-key secret-key private-key session-id jsessionid
		reset-password password-reset forgot-password set-password verify-email email-verify email-verification verify-account confirm-email
		email-confirm email-confirmation magic-link magic-login one-time-login unsubscribe activate activation invite invitation confirm confirmation verify session`},
	{scheme, inHeader | inBody, anywhere, textOnly, `authorization`},
	{challenge, inHeader, alone, textOnly, `www-authenticate proxy-authenticate`},
	{cookies, inHeader, alone, textOnly, `cookie cookie-2`},
	{cookies, inBody, atEnd, textOnly, `cookie cookies`},
	{setCookie, inHeader | inBody, alone, textOnly, `set-cookie set-cookie-2`},
	{protocols, inHeader, alone, textOnly, `sec-websocket-protocol`},
	{link, inHeader, alone, textOnly, `content-location envoy-original-path forwarded-host forwarded-uri host location original-host original-uri original-url
		referer referrer rewrite-url`},
	{plain, anyName, anywhere, textOnly, `page-token next-token continuation-token sync-token skip-token cursor-token pagination-token start-token
		idempotency-key cache-key partition-key sort-key primary-key public-key foreign-key surrogate-key websocket-key web-socket-key routing-key row-key
		range-key hash-key group-key dedup-key deduplication-key shard-key message-key object-key order-key unique-key translation-key
		allow-credentials credentials-mode password-hint map-pin location-pin`},
	{plain, inBody, anywhere, textOnly, `secret-ref secret-key-ref image-pull-secret image-pull-secrets token-review boarding-pass season-pass day-pass`},
	{plain, inPath, anywhere, textOnly, `page-token next-token`},
}

// attributes are the last words of names that describe a secret, such as token-type. The values of such
// names are not secret, even within an object that is secret as a whole, such as credentials.
const attributes = `type types method methods version algorithm alg length count expires expiry expiration expire ttl lifetime endpoint
	url uri name enabled required supported policy status error limit remaining format size max min usage level mode provider issuer
	audience scope scopes age outcome in at`

// bodyAttributes are further attributes in bodies.
const bodyAttributes = `path file filename ref description title label hint placeholder tooltip caption prompt strategy scheme kind class
	address symbol decimals balance price created updated changed issued rotated date timestamp check checks`

// qualifiers are further words in names without separators.
const qualifiers = `access account acme admin amz api app application aws azure basic bot card callback client cloud confirm confirmation consumer
	current customer data db deploy device email encryption function functions git github gitlab google goog grant hub id identity internal jwt key license login
	master max my new next num number old page personal php private proxy public push read refresh registration request reset response root
	security service session shared sign signing site start subscription swagger sync system team temp test two user username value vault
	verification web webhook write x`

// Further kinds of names in bodies.
const (
	// naming has the last words of names whose value is itself a name: {"name":"password","value":"…"}.
	naming = `name key field header parameter param property path variable attribute setting option k`
	// valued has the last words of names whose value belongs to the name that such a member has.
	valued = `value val content v`
	// proseNames are the last words of names whose values are texts for people: {"errors":{"password":["is too short"]}}.
	proseNames = `error errors message messages label labels translation translations locale locales violation violations
		description descriptions placeholders hints texts strings detail details validation`
	// identifying has the last words of names of numbers that aren't card numbers.
	identifying = `id ids uuid ean gtin sku upc barcode isbn timestamp ts time epoch millis micros nanos count size offset sequence version`
	// phrases are names of secrets that consist of words.
	phrases = `phrase passphrase mnemonic`
	// kinds are names of a Kubernetes object's kind, and kindData those of the values in a Secret.
	kinds    = `kind`
	kindData = `data`
)

// gluedEnds and gluedBeginnings are recognized at the end and at the beginning of a longer word that
// can't be split, because hardly any other word ends or begins with them.
var (
	gluedEnds = strings.Fields(`token secret password passwd passphrase passcode signature credential credentials apikey accesskey secretkey
		privatekey sessionid sessid hmac jwt pwd authorization`)
	gluedBeginnings = strings.Fields(`password passwd apikey accesstoken authtoken secretkey`)
)
