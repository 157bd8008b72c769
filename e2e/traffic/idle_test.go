package traffic

func serveEcho() {}
