package match

// Kind says how a value differs. The first four names are the ecosystem's.
type Kind string

const (
	ValueChanged Kind = "value_changed"
	FieldAdded   Kind = "field_added"   // the live side has it, the recorded one has not
	FieldRemoved Kind = "field_removed" // the recorded side has it, the live one has not
	TypeChanged  Kind = "type_changed"
)

// Difference is one place at which two requests, or two responses, differ. Values
// are redacted and cut to [MaxValue] bytes.
type Difference struct {
	// Place, as `status`, `header:Content-Type`, `query:id` or `body:$.user.name`.
	Place string `json:"place"`
	Kind  Kind   `json:"kind"`
	// Recorded is empty if the recorded side has no such place; Live likewise.
	Recorded string `json:"recorded,omitempty"`
	Live     string `json:"live,omitempty"`
	// RecordedType and LiveType are set if the type changed, as `number` and `string`.
	RecordedType string `json:"recordedType,omitempty"`
	LiveType     string `json:"liveType,omitempty"`
	// Class of both values, if they are of one, as `uuid` or `datetime`.
	Class string `json:"class,omitempty"`
}

// Differences are what a comparison found.
type Differences struct {
	List []Difference `json:"differences"`
	// More is how many further ones there are.
	More int `json:"more,omitempty"`
}

const (
	// MaxDifferences is how many differences a comparison lists; it counts the rest.
	MaxDifferences = 25
	// MaxValue is how many bytes of a value a difference shows.
	MaxValue = 256
	// MaxNearest is how many recorded requests are looked at to explain a miss.
	MaxNearest = 50
)
