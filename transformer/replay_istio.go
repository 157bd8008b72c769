package transformer

// replayIstio builds what a mesh needs to let the parts of the replay reach each other.
func (in *input) replayIstio(r *replay) ([]*Object, Results) { return nil, nil }
