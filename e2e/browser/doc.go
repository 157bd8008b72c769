// Package browser opens the pages that Tapedeck writes in a real Chromium.
//
//	report ──▶ HTML ──▶ server on loopback ──▶ Chromium ──▶ its requests, its console and what it shows
//
// If Chromium is not installed, the tests skip and say so; Debian has it in the package chromium.
// This is a separate module because of chromedp, which drives Chromium.
package browser
