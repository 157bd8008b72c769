package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy"
)

// redactKey reads the redaction key. If the file has no usable key, it returns nil, and the
// recorder makes a random one. So a secret is never recorded, and the pod never fails because a
// key is missing. The key is read once, because segments name the key of their process. A new key
// applies after the next start.
func redactKey(file string, log *slog.Logger) []byte {
	if file == "" {
		return nil
	}
	key, err := readRedactKey(file)
	log = log.With("variable", contract.EnvRedactKeyFile, "file", file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		log.Info("there is no key for redaction, so this process makes one of its own: its tokens differ from those of other processes")
	case err != nil:
		log.Warn("the key for redaction can't be used, so this process makes one of its own: its tokens differ from those of other processes", proxy.LogError, err)
	default:
		log.Info("the key for redaction has been read", "id", contract.RedactKeyID(key))
	}
	return key
}

func readRedactKey(file string) ([]byte, error) {
	text, err := readFile(file)
	if err != nil {
		return nil, err
	}
	key, err := contract.ParseRedactKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return key, nil
}
