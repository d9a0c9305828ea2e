package seal_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kurir.dev/kit/seal"
)

func keyring(tb testing.TB) *seal.Keyring {
	tb.Helper()
	k, err := seal.Generate()
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestSealOpen(t *testing.T) {
	t.Parallel()
	k := keyring(t)
	for name, plain := range map[string][]byte{
		"empty": {}, "short": []byte("482913"), "long": bytes.Repeat([]byte("Yth. Pelanggan, "), 1<<16),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealed, err := k.Seal(plain, []byte("id"))
			if err != nil {
				t.Fatalf("Seal() = %v", err)
			}
			if len(plain) > 0 && bytes.Contains(sealed, plain) {
				t.Error("Seal() leaves the payload readable")
			}
			if len(plain) > 1000 && len(sealed) > len(plain)/10 {
				t.Errorf("Seal() makes %d bytes of %d that repeat, want it compressed", len(sealed), len(plain))
			}
			got, err := k.Open(sealed, []byte("id"))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("Open(Seal()) = %d bytes, %v, want %d", len(got), err, len(plain))
			}
		})
	}
}

// Payloads of every size around the one from which they are compressed open.
func TestSizes(t *testing.T) {
	t.Parallel()
	k := keyring(t)
	for n := range 1200 {
		plain := bytes.Repeat([]byte("x"), n)
		sealed, err := k.Seal(plain, nil)
		if err != nil {
			t.Fatalf("Seal of %d bytes = %v", n, err)
		}
		if got, err := k.Open(sealed, nil); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("Open of %d bytes = %d bytes, %v", n, len(got), err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	k := keyring(t)
	const secret = "code 482913"
	sealed, err := k.Seal([]byte(secret), []byte("id"))
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	other, err := keyring(t).Seal([]byte(secret), []byte("id"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ sealed, associated []byte }{
		"other associated data": {sealed, []byte("di")},
		"none":                  {sealed, nil},
		"tampered":              {flipped, []byte("id")},
		"truncated":             {sealed[:len(sealed)-3], []byte("id")},
		"empty":                 {nil, []byte("id")},
		"other keyring":         {other, []byte("id")},
	} {
		_, err := k.Open(tt.sealed, tt.associated)
		if !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%s: Open() = %v, want %v", name, err, seal.ErrOpen)
		} else if strings.Contains(err.Error(), "482913") {
			t.Errorf("%s: Open() tells the payload: %v", name, err)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	k := keyring(t)
	if _, err := k.Seal(make([]byte, seal.MaxPlain+1), nil); !errors.Is(err, seal.ErrTooLarge) {
		t.Errorf("Seal(too large) = %v, want %v", err, seal.ErrTooLarge)
	}
	sealed, err := k.Seal(make([]byte, seal.MaxPlain), nil)
	if err != nil {
		t.Fatalf("Seal(largest) = %v", err)
	}
	if got, err := k.Open(sealed, nil); err != nil || len(got) != seal.MaxPlain {
		t.Errorf("Open(largest) = %d bytes, %v, want %d", len(got), err, seal.MaxPlain)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	old := keyring(t)
	before, err := old.Seal([]byte("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ready, err := old.Rotate(false) // first everybody can open
	if err != nil {
		t.Fatal(err)
	}
	mid, err := ready.Seal([]byte("b"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := old.Open(mid, nil); err != nil || string(got) != "b" {
		t.Errorf("old ring opens what a waiting key's ring sealed: %q, %v", got, err)
	}
	now, err := ready.Rotate(true)
	if err != nil {
		t.Fatal(err)
	}
	after, err := now.Seal([]byte("c"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := now.Open(before, nil); err != nil || string(got) != "a" {
		t.Errorf("Open(sealed before) = %q, %v, want a", got, err)
	}
	if _, err := old.Open(after, nil); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("old ring opens what the new key sealed: %v", err)
	}
	if old.Keys() != 1 || now.Keys() != 3 {
		t.Errorf("Keys() = %d and %d, want 1 and 3", old.Keys(), now.Keys())
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring")
	if _, err := seal.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load(missing) = %v, want %v", err, fs.ErrNotExist)
	}
	rings := make([]*seal.Keyring, 8)
	var wg sync.WaitGroup
	for i := range rings {
		wg.Go(func() {
			k, err := seal.LoadOrCreate(path)
			if err != nil {
				t.Errorf("LoadOrCreate() = %v", err)
				return
			}
			rings[i] = k
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed, err := rings[0].Seal([]byte("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range rings {
		if _, err := k.Open(sealed, nil); err != nil {
			t.Errorf("keyring %d is another: %v", i, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keyring file has mode %v, %v, want 0600", info.Mode().Perm(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("directory holds %v, %v, want the keyring alone", entries, err)
	}

	next, err := rings[0].Rotate(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Save(path); err != nil {
		t.Fatalf("Save() = %v", err)
	}
	if k, err := seal.Load(path); err != nil || k.Keys() != 2 {
		t.Errorf("Load() after Save() = %v, want two keys", err)
	}
	for mode, want := range map[fs.FileMode]error{0o640: nil, 0o644: seal.ErrExposed, 0o660: seal.ErrExposed} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Load(path); !errors.Is(err, want) {
			t.Errorf("Load(mode %o) = %v, want %v", mode, err, want)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Load(path); err == nil {
		t.Error("Load(garbage) = nil, want an error")
	}
	if _, err := seal.LoadOrCreate(filepath.Join(path, "below")); err == nil {
		t.Error("LoadOrCreate(below a file) = nil, want an error")
	}
}

func FuzzOpen(f *testing.F) {
	k := keyring(f)
	good, err := k.Seal([]byte("hello"), []byte("id"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, []byte("id"))
	f.Add([]byte{}, []byte{})
	f.Add(good[:12], []byte("id"))
	f.Fuzz(func(t *testing.T, sealed, associated []byte) {
		plain, err := k.Open(sealed, associated)
		if err != nil {
			if !errors.Is(err, seal.ErrOpen) && !errors.Is(err, seal.ErrTooLarge) {
				t.Fatalf("Open() = %v, want one of its two errors", err)
			}
			return
		}
		if string(plain) != "hello" || string(associated) != "id" {
			t.Fatalf("Open(forged) = %q", plain)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k := keyring(b)
	mail := bytes.Repeat([]byte("Your code is 482913. Do not tell anybody.\r\n"), 50)
	b.SetBytes(int64(len(mail)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			sealed, err := k.Seal(mail, []byte("id"))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := k.Open(sealed, []byte("id")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
