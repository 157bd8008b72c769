package carry

// Rules is a file of rules. It does not change. A nil one has none.
type Rules struct{}

// pattern is a place as users write it.
type pattern struct{}

// scope says for which requests something is.
type scope struct{}
