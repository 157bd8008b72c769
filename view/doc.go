// Package view serves pages to look at traffic: recordings, reports of replays and receipts
// of mocks.
//
//	browser ──▶ guard: loopback, Host, Origin, method ──▶ routes ──▶ a page's handler
//	                                                                     │ asks
//	browser ◀── layout.html ◀── template of the page ◀── its data ◀──────┤
//	                                                                     ▼
//	                        view/index (rows), recording/show (one exchange), view/trace (waterfalls)
//
// Promises:
//
//   - Recorded content is never executed. Templates escape it, pages allow only the server's own script
//     and style, and load nothing from elsewhere.
//   - The server rejects requests with another Host or Origin, so no web page can read a recording
//     through a browser.
//   - A page works without its script, by keyboard, and with a screen reader.
//   - The size of a page is bounded, however much there is to show.
//
// A page is a Go file with its handler, and a template of the same name. To add one, list the handler in
// routes.go, and define "title" and "main" in the template, which layout.html frames.
//
// The package imports view's folders, recording, mock and replay/report for the formats that they
// write, and the standard library. Only cmd/tapedeck links it.
package view
