// Package view serves pages to look at traffic: recordings, reports of replays and receipts
// of mocks.
//
//	browser ──▶ guard: loopback, Host, Origin, method ──▶ routes ──▶ a page's handler
//	                                                                     │ asks
//	browser ◀── layout.html ◀── template of the page ◀── its data ◀──────┤
//	                                                                     ▼
//	                        view/index (rows), recording/show (one exchange), view/trace (waterfalls)
//
// It promises:
//
//   - Nothing recorded acts. Templates escape all of it, no page allows a script or a style
//     that is not the server's own, and no page loads anything from elsewhere.
//   - Only pages of this server, and people, get an answer: a Host or an Origin of another name
//     is refused, so that no web page reads a recording through a browser.
//   - A page works without its script, by keyboard, and with a screen reader.
//   - A page is bounded, however large what it shows is.
//
// A page is a Go file with its handler, and a template of the same name. The handler is
// entered in routes.go; the template defines "title" and "main", which layout.html frames.
// The package imports view's folders, recording, mock and replay/report for what they
// wrote, and the standard library. Only cmd/tapedeck links it.
package view
