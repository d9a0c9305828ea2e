package record_test

import (
	"strings"
	"testing"

	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// BenchmarkMail seals a mail of 10 KB and opens it.
func BenchmarkMail(b *testing.B) {
	keys, err := seal.Generate()
	if err != nil {
		b.Fatal(err)
	}
	codec := record.NewCodec(keys, topic.Names{})
	e := &eventsv1.MailEnvelope{
		MailId: "01919999-0000-7000-8000-000000000001", Tenant: "acme", Lane: "bulk",
		Content: &eventsv1.MailEnvelope_Message{
			Message: []byte(strings.Repeat("Tagihan Anda untuk bulan ini telah terbit dan dapat dibayar.\r\n", 160)),
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		m, err := codec.Mail(e)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := codec.OpenMail(custody.Record{Key: m.Key, Value: m.Value}); err != nil {
			b.Fatal(err)
		}
	}
}
