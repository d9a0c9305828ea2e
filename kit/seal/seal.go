// Package seal makes payloads small and unreadable: zstd (RFC 8878) first,
// then AES-256-GCM from a tink keyring.
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
	"sync"

	"github.com/klauspost/compress/zstd"
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
	enc     *zstd.Encoder
	dec     *zstd.Decoder
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
	// The fastest level makes a mail a tenth larger in a third of the time.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(encoders), zstd.WithWindowSize(window))
	if err != nil {
		return nil, fmt.Errorf("making compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxPlain))
	if err != nil {
		return nil, fmt.Errorf("making decompressor: %w", err)
	}
	return &Keyring{handle: h, aead: a, enc: enc, dec: dec}, nil
}

// The compressor keeps this many states ready for concurrent Seal calls, each
// with a window of this many bytes: bounded memory for any number of callers.
const (
	encoders = 4
	window   = 256 << 10
)

// Seal compresses and encrypts plain. The same associated data, which is not
// stored, must be given to [Keyring.Open]. plain is not kept.
func (k *Keyring) Seal(plain, associated []byte) ([]byte, error) {
	if len(plain) > MaxPlain {
		return nil, ErrTooLarge
	}
	b := k.Borrow()
	defer k.Return(b)
	if len(plain) < small {
		b.Bytes = frame(b.Bytes, plain)
	} else {
		b.Bytes = k.enc.EncodeAll(plain, b.Bytes)
	}
	sealed, err := k.aead.Encrypt(b.Bytes, associated)
	if err != nil {
		return nil, fmt.Errorf("sealing payload: %w", err)
	}
	return sealed, nil
}

// small payloads are not compressed: a compressor takes longer to get ready
// for them than all the rest of sealing, and saves a few hundred bytes.
const small = 1024

// frame appends to b a small payload as a zstd frame of one raw block (RFC 8878
// §3.1.1), which opens as any other.
func frame(b, plain []byte) []byte {
	b = append(b, 0x28, 0xb5, 0x2f, 0xfd) // magic number
	if n := len(plain); n < 256 {
		b = append(b, 0x20, byte(n)) // one segment, its size in one byte
	} else {
		b = append(b, 0x60, byte(n-256), byte((n-256)>>8)) // in two
	}
	header := len(plain)<<3 | 1 // raw, and the last
	b = append(b, byte(header), byte(header>>8), byte(header>>16))
	return append(b, plain...)
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
	plain, err := k.dec.DecodeAll(packed, into)
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, ErrTooLarge
	case err != nil:
		return nil, ErrOpen
	case len(plain)-len(into) > MaxPlain:
		return nil, ErrTooLarge
	}
	return plain, nil
}
