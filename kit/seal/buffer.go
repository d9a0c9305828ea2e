package seal

// Buffer holds a payload for the moment between two forms of it.
type Buffer struct{ Bytes []byte }

// keep is the largest buffer that is kept for the next one.
const keep = 256 << 10

// Borrow gives an empty buffer, with the room of an earlier one. Whoever has it
// gives it back by [Keyring.Return], and keeps no part of its bytes then.
func (k *Keyring) Borrow() *Buffer {
	if b, ok := k.buffers.Get().(*Buffer); ok {
		return b
	}
	return new(Buffer)
}

// Return takes a buffer back.
func (k *Keyring) Return(b *Buffer) {
	if cap(b.Bytes) > keep {
		return
	}
	b.Bytes = b.Bytes[:0]
	k.buffers.Put(b)
}
