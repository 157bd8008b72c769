package transformer

// responder builds the Deployment and the Service of the mock that stands in for the copy's
// dependencies.
func (in *input) responder(r *replay) ([]*Object, Results) { return nil, nil }
