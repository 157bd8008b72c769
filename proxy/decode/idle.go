package decode

import "github.com/tapedeck/tapedeck/proxy/tap"

// Idle implements [tap.Idler] if the decoder does.
func (f *flow) Idle() bool {
	d, ok := f.decoder.(tap.Idler)
	return ok && d.Idle()
}
