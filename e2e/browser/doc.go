// Package browser opens the pages that Tapedeck writes in a real Chromium.
//
//	report ──▶ HTML ──▶ server on loopback ──▶ Chromium ──▶ what it asked for, said and shows
//
// It skips, saying so, where there is no Chromium: Debian's package chromium has one. It
// is a module of its own because of chromedp, which drives it.
package browser
