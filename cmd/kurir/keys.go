package main

import (
	"fmt"
	"io"
	"os"

	"kurir.dev/cmd/kurir/mesh"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/token"
)

// keysCommand makes the keys that services in processes of their own share.
type keysCommand struct {
	Dir string `arg:"" help:"Directory for the files keyring.json and tokens."`
}

// Run makes the keys that are missing; those that exist stay as they are.
func (c keysCommand) Run(w io.Writer) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("making the keys' directory: %w", err)
	}
	keyring, tokens := mesh.KeyPaths(c.Dir)
	if _, err := seal.LoadOrCreate(keyring); err != nil {
		return err
	}
	if _, err := token.LoadOrCreate(tokens); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n", keyring, tokens)
	return err
}
