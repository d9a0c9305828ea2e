package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// fileMode is what a keyring file must not be more open than. Its group may
// read it: so does Kubernetes hand a secret to a process that is not root.
const fileMode fs.FileMode = 0o640

// ErrExposed is returned for a keyring file that its group may write or others
// may read or write.
var ErrExposed = errors.New("keyring file is open to others; its mode must be 0600, or 0640 for a group")

// Load reads a keyring from its file. A missing file is fs.ErrNotExist, one
// open to others [ErrExposed].
func Load(path string) (*Keyring, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading keyring: %w: make one with kurir keys, all services share it", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading keyring: %w", err)
	}
	if info.Mode().Perm()&^fileMode != 0 {
		return nil, fmt.Errorf("reading keyring %q: %w", path, ErrExposed)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading keyring: %w", err)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, fmt.Errorf("reading keyring %q: not a keyset", path)
	}
	return newKeyring(h)
}

// LoadOrCreate reads a keyring, or makes one with a new key and stores it at
// path, mode 0600. Of several processes that create at once, one wins and all
// get its keyring.
func LoadOrCreate(path string) (*Keyring, error) {
	k, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = Generate(); err != nil {
		return nil, err
	}
	switch err := k.create(path); {
	case errors.Is(err, fs.ErrExist):
		return Load(path)
	case err != nil:
		return nil, err
	}
	return k, nil
}

// Rotate returns a keyring with one more key, which is primary when primary
// is true and otherwise only opens. k stays as it is; [Keyring.Save] stores
// the new one.
func (k *Keyring) Rotate(primary bool) (*Keyring, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("adding key: %w", err)
	}
	if primary {
		if err := m.SetPrimary(id); err != nil {
			return nil, fmt.Errorf("making key primary: %w", err)
		}
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("adding key: %w", err)
	}
	return newKeyring(h)
}

// Keys returns how many keys the keyring opens with.
func (k *Keyring) Keys() int { return k.handle.Len() }

// Save stores the keyring at path, mode 0600, in place of what is there, in
// one step and synced.
func (k *Keyring) Save(path string) error {
	tmp, err := k.write(path)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // gone already after the rename
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("storing keyring: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// create stores the keyring at path unless something is there: fs.ErrExist.
func (k *Keyring) create(path string) error {
	tmp, err := k.write(path)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // a second name of the same file
	if err := os.Link(tmp, path); err != nil {
		return fmt.Errorf("storing keyring: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// write puts the keyring into a synced temporary file beside path.
func (k *Keyring) write(path string) (string, error) {
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(k.handle, keyset.NewJSONWriter(&buf)); err != nil {
		return "", errors.New("encoding keyring")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".keyring-*") // 0600 by contract
	if err != nil {
		return "", fmt.Errorf("storing keyring: %w", err)
	}
	_, werr := f.Write(buf.Bytes())
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("storing keyring: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	return nil
}
