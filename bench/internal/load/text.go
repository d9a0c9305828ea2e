package load

import (
	"math/rand/v2"
	"strings"
)

// headers is about how many bytes a mail has beside its text.
const headers = 474

// words are what the texts are made of.
const words = `pelanggan yang terhormat terima kasih atas kepercayaan anda kepada kami berikut adalah
rincian layanan bulan ini beserta penawaran terbaru untuk keluarga di rumah silakan hubungi pusat bantuan bila
ada pertanyaan tagihan listrik air internet pembayaran dapat dilakukan melalui bank toko atau aplikasi promo
berlaku sampai akhir tahun syarat dan ketentuan lengkap tersedia pada situs resmi perusahaan nomor pesanan`

// texts are bodies of lines of words in random order, which compress about as
// people's words do. With the headers a mail has about size bytes.
func texts(rnd *rand.Rand, size, n int) []string {
	vocabulary := strings.Fields(words)
	out := make([]string, n)
	for i := range out {
		var b strings.Builder
		for sent, line := 0, 0; sent < max(size-headers, 1); {
			word := vocabulary[rnd.IntN(len(vocabulary))]
			b.WriteString(word)
			sent, line = sent+len(word)+1, line+len(word)+1
			if line > 64 {
				b.WriteByte('\n')
				sent, line = sent+1, 0 // a line end is two bytes on the wire
				continue
			}
			b.WriteByte(' ')
		}
		b.WriteByte('\n')
		out[i] = b.String()
	}
	return out
}
