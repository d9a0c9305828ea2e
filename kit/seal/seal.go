// Package seal makes payloads small and unreadable: an S2 block first, which is
// Snappy's format extended (github.com/klauspost/compress/s2), then AES-256-GCM
// from a tink keyring.
//
// A [Keyring] holds several keys: the primary seals, all open. To rotate,
// add a key, let every process load the new file, make it primary, and drop
// the old key when nothing sealed under it is left. The keyring file holds
// its keys in the clear and is guarded by its mode, 0600, or 0640 where the
// orchestrator's secret store hands it to a group.
//
// Errors say that something could not be opened, never what was in it.
package seal

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// MaxPlain is the largest payload [Keyring.Seal] takes and [Keyring.Open]
// lets grow out of a sealed one: a bound against decompression bombs.
const MaxPlain = 64 << 20

// ErrOpen is what [Keyring.Open] returns for everything that does not open:
// other keys, other associated data, tampered or truncated bytes.
var ErrOpen = errors.New("sealed payload does not open under this keyring")

// ErrTooLarge is returned for payloads beyond [MaxPlain].
var ErrTooLarge = errors.New("payload exceeds the sealing limit")

// Keyring seals and opens. Safe for concurrent use.
type Keyring struct {
	handle  *keyset.Handle
	aead    tink.AEAD
	buffers sync.Pool // of *Buffer
}

// Generate makes a keyring with one new key, in memory only.
func Generate() (*Keyring, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("generating key: %w", err)
	}
	return newKeyring(h)
}

func newKeyring(h *keyset.Handle) (*Keyring, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("using keyset for AEAD: %w", err)
	}
	return &Keyring{handle: h, aead: a}, nil
}

// Seal compresses and encrypts plain. The same associated data, which is not
// stored, must be given to [Keyring.Open]. plain is not kept.
func (k *Keyring) Seal(plain, associated []byte) ([]byte, error) {
	if len(plain) > MaxPlain {
		return nil, ErrTooLarge
	}
	b := k.Borrow()
	defer k.Return(b)
	b.Bytes = slices.Grow(b.Bytes, s2.MaxEncodedLen(len(plain)))
	sealed, err := k.aead.Encrypt(s2.Encode(b.Bytes[:cap(b.Bytes)], plain), associated)
	if err != nil {
		return nil, fmt.Errorf("sealing payload: %w", err)
	}
	return sealed, nil
}

// Open undoes [Keyring.Seal]. Any failure is [ErrOpen] or [ErrTooLarge].
func (k *Keyring) Open(sealed, associated []byte) ([]byte, error) {
	return k.AppendOpen(nil, sealed, associated)
}

// AppendOpen is Open into the room that into has behind its end, as far as that
// goes.
func (k *Keyring) AppendOpen(into, sealed, associated []byte) ([]byte, error) {
	packed, err := k.aead.Decrypt(sealed, associated)
	if err != nil {
		return nil, ErrOpen
	}
	n, err := s2.DecodedLen(packed)
	switch {
	case err != nil:
		return nil, ErrOpen
	case n > MaxPlain:
		return nil, ErrTooLarge
	}
	into = slices.Grow(into, n)
	plain := into[len(into) : len(into)+n]
	if _, err := s2.Decode(plain, packed); err != nil {
		return nil, ErrOpen
	}
	return into[:len(into)+n], nil
}
