package seal

import (
	"encoding/binary"
	"errors"
	"testing"
)

// What is sealed with our key and no block of ours is refused, and makes no room
// for what it claims to hold.
func TestOpenRefusesBlocks(t *testing.T) {
	t.Parallel()
	k, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		packed []byte
		want   error
	}{
		"nothing":       {nil, ErrOpen},
		"too large":     {binary.AppendUvarint(nil, MaxPlain+1), ErrTooLarge},
		"of no length":  {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ErrOpen},
		"cut short":     {binary.AppendUvarint(nil, 100), ErrOpen},
		"no such block": {append(binary.AppendUvarint(nil, 4), 0xff, 0xff), ErrOpen},
	} {
		sealed, err := k.aead.Encrypt(tt.packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(sealed, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: Open() = %d bytes, %v, want %v", name, len(got), err, tt.want)
		}
	}
}
