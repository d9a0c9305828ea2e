package journal

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
)

// TestLater: the next envelope is this one but for what counts on, of newer
// programs too, and this one stays as it is.
func TestLater(t *testing.T) {
	t.Parallel()
	was := &eventsv1.MailEnvelope{
		MailId: "m", Tenant: "t", Lane: "bulk", Attempt: 2, Tries: 1, Facts: &eventsv1.MailFacts{},
		Content: &eventsv1.MailEnvelope_Message{Message: []byte("Subject: x\r\n\r\nx\r\n")},
	}
	was.ProtoReflect().SetUnknown([]byte{0xf8, 0x7f, 0x01}) // field 2047
	before := proto.CloneOf(was)
	m := &Mail{Key: Key{MailID: "m", Attempt: 2}, Tries: 1, envelope: was}
	got := m.later(3, true)
	want := proto.CloneOf(was)
	want.Attempt, want.Tries, want.PossibleDuplicate = 3, 4, true
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("later() (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, was, protocmp.Transform()); diff != "" {
		t.Errorf("later() changed its mail (-want +got):\n%s", diff)
	}
	if &got.GetMessage()[0] != &was.GetMessage()[0] {
		t.Error("later() copied the message")
	}
}
