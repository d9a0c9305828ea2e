package token

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// minSecret is the shortest secret a key may have: as long as its MAC's hash.
const minSecret = 32

// Key signs and verifies.
type Key struct {
	// ID is carried in each token; unique in a ring.
	ID uint8
	// Secret is at least 32 random bytes.
	Secret []byte
}

// String prints the id alone.
func (k Key) String() string { return fmt.Sprintf("key %d", k.ID) }

// GoString prints the id alone.
func (k Key) GoString() string { return k.String() }

// Ring is the keys in use; immutable and safe for concurrent use. To rotate,
// put a new key first and keep the old ones as long as their mail is read.
type Ring struct{ keys []Key }

// NewRing makes a ring: the first key signs, all verify.
func NewRing(keys ...Key) (*Ring, error) {
	if len(keys) == 0 {
		return nil, errors.New("token ring: no key")
	}
	seen := map[uint8]bool{}
	for _, k := range keys {
		if seen[k.ID] {
			return nil, fmt.Errorf("token ring: key id %d is used twice", k.ID)
		}
		seen[k.ID] = true
		if len(k.Secret) < minSecret {
			return nil, fmt.Errorf("token ring: secret of key %d is shorter than %d bytes", k.ID, minSecret)
		}
	}
	r := &Ring{keys: make([]Key, len(keys))}
	for i, k := range keys {
		r.keys[i] = Key{ID: k.ID, Secret: slices.Clone(k.Secret)}
	}
	return r, nil
}

func (r *Ring) key(id uint8) (Key, bool) {
	for _, k := range r.keys {
		if k.ID == id {
			return k, true
		}
	}
	return Key{}, false
}

// Generate makes a ring of one new random key, id 1.
func Generate() *Ring {
	secret := make([]byte, minSecret)
	_, _ = rand.Read(secret) // never fails: it ends the program instead
	return &Ring{keys: []Key{{ID: 1, Secret: secret}}}
}

// LoadRing reads a ring from a file: one key a line, the signing one first, as
//
//	id:secret in hex
//
// Empty lines and lines that begin with # are passed over.
func LoadRing(path string) (*Ring, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading token keys: %w: make them with kurir keys, composer and tracker share them", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading token keys: %w", err)
	}
	var keys []Key
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, secret, ok := strings.Cut(line, ":")
		number, err := strconv.ParseUint(id, 10, 8)
		raw, hexErr := hex.DecodeString(secret)
		if !ok || err != nil || hexErr != nil { // what the line holds stays secret
			return nil, fmt.Errorf("reading token keys: %s:%d is not id:hex with an id of 0 to 255", path, n+1)
		}
		keys = append(keys, Key{ID: uint8(number), Secret: raw})
	}
	r, err := NewRing(keys...)
	if err != nil {
		return nil, fmt.Errorf("reading token keys from %s: %w", path, err)
	}
	return r, nil
}

// LoadOrCreate is [LoadRing], and where there is no file it first makes one
// with a new key, readable by its owner alone (0600). Processes that race for
// it end up with one ring.
func LoadOrCreate(path string) (*Ring, error) {
	r, err := LoadRing(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating token keys: %w", err)
	}
	if err := create(dir, path, Generate()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("creating token keys: %w", err)
	}
	return LoadRing(path)
}

// create writes the ring beside path and links it there: whole or not at all,
// and never over a file that exists.
func create(dir, path string, r *Ring) (err error) {
	tmp, err := os.CreateTemp(dir, ".tokens-*") // 0600 by contract
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	var b strings.Builder
	b.WriteString("# keys of tracking tokens: the first signs, all verify\n")
	for _, k := range r.keys {
		fmt.Fprintf(&b, "%d:%s\n", k.ID, hex.EncodeToString(k.Secret))
	}
	_, err = tmp.WriteString(b.String())
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
}
