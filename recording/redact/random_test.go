package redact

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func TestLooksRandom(t *testing.T) {
	for _, s := range strings.Fields(`5f1c0a6e9d7e4e0b8a534f6c2c7d9b10 SplxlOBeZQQYbYS6WxSbIA 5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10
		dXNlcjpwYXNz dXNlcjpodW50ZXIy 4fzzzxjylrxRsvdw5tDMkjJ7aX0 eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln Kanari0001Vogel9x`) {
		if !looksRandom(s) {
			t.Errorf("%s doesn't look random", s)
		}
	}
	for _, s := range strings.Fields(`morning oauth2 basic none required keycloak user_profile_photo_1234 primaryColorNameOfTheButton
		images/2026/11/22/photo_17.png com.example.shop.cart.v1.CartService 1732305300123456 a 20261122T201500.123Z-cart-0 PROJ-1234
		application/vnd.github.v3+json de.shop.example:8080 cart-7d4b9-x2x some-kebab-case-name-here-2 SOME_CONSTANT_NAME_V2 v1.2.3-alpha.4+build.5`) {
		if looksRandom(s) {
			t.Errorf("%s looks random", s)
		}
	}
	if looksScrambled("5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10") {
		t.Error("a UUID is scrambled")
	}
}

// Hardly any random key looks like text that people wrote.
func TestRandomKeysLookRandom(t *testing.T) {
	missed, all := 0, 0
	for range 2000 {
		var b [24]byte
		rand.Read(b[:])
		for _, s := range []string{hex.EncodeToString(b[:16]), hex.EncodeToString(b[:]), base64.StdEncoding.EncodeToString(b[:]), base64.RawURLEncoding.EncodeToString(b[:20]), strings.ToUpper(hex.EncodeToString(b[:]))} {
			all++
			if !looksScrambled(s) {
				missed++
			}
		}
	}
	if missed*100 > all {
		t.Errorf("%d of %d random keys don't look random", missed, all)
	}
}
