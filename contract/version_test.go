package contract

import "testing"

func TestProgramsOfAReleaseGoWithItsImage(t *testing.T) {
	for version, want := range map[string]string{
		Release:       Image,
		"v1.2.3":      Repository + ":v1.2.3",
		"v1.2.3-rc.1": Repository + ":v1.2.3-rc.1",
		"v1.2.3-rc1":  Repository + ":v1.2.3-rc1",

		"":                                     Image,
		"dev":                                  Image,
		"dev-0123456789ab":                     Image,
		"latest":                               Image,
		"v0.3.0-0.20261130120000-0123456789ab": Image,
		"v0.0.0-20261130120000-0123456789ab":   Image,
		"v1.2.3+dirty":                         Image,
		"v1.2.3-12-g0123456":                   Image,
	} {
		if got := ImageOf(version); got != want {
			t.Errorf("version %q: %s, want %s", version, got, want)
		}
	}
}
