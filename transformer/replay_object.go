package transformer

// readReplays reads what annotations and TrafficReplays ask for.
func (in *input) readReplays() ([]*replay, Results) { return nil, nil }
