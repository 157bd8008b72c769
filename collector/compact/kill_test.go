package compact

func killed() bool { return false }
