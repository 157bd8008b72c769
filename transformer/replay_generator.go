package transformer

// generator builds the Job that sends the recorded requests.
func (in *input) generator(r *replay) ([]*Object, Results) { return nil, nil }
