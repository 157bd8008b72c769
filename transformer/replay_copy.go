package transformer

// addCopy adds the copy of a replay's workload, and the Service that leads to it, to the
// input, where one is to be made.
func (in *input) addCopy(r *replay) Results { return nil }

// copyObjects returns the copy and its Service, which were injected meanwhile.
func (in *input) copyObjects(r *replay) ([]*Object, Results) { return nil, nil }
