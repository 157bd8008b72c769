package contract

// HeaderReplay is the header that a replay sets on every request it sends, to the ID of
// its run. Capture tags what carries it, so a selection can leave a replay's traffic out.
// The ecosystem has no header for this; requests to gRPC servers carry it as metadata.
const HeaderReplay = "Tapedeck-Replay"

// MaxReplayID is how long the ID of a run may be, in bytes.
const MaxReplayID = 63

// IsReplayID tells whether a text can be the ID of a run: a DNS label (RFC 1123), such as
// a UUID in lower case or the name of a Job. Anybody may send the header, so capture
// takes nothing else for an ID.
func IsReplayID(id string) bool {
	if id == "" || len(id) > MaxReplayID || id[0] == '-' || id[len(id)-1] == '-' {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
