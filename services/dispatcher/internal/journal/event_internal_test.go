package journal

import (
	"strings"
	"testing"
	"time"

	"kurir.dev/kit/custody"
	"kurir.dev/kit/record"
	"kurir.dev/kit/seal"
	"kurir.dev/kit/topic"
	eventsv1 "kurir.dev/proto/gen/kurir/events/v1"
	"kurir.dev/services/dispatcher/internal/outcome"
)

// The domain's numbers are those of the proto: event relies on it.
func TestNumbersAgree(t *testing.T) {
	t.Parallel()
	for _, c := range outcome.Categories() {
		want := "CATEGORY_" + strings.ToUpper(c.String())
		if c == outcome.None {
			want = "CATEGORY_UNSPECIFIED"
		}
		if got := eventsv1.Category(c).String(); got != want {
			t.Errorf("category %s is %s in proto, want %s", c, got, want)
		}
	}
	if len(outcome.Categories()) != len(eventsv1.Category_name) {
		t.Errorf("%d categories, %d in proto", len(outcome.Categories()), len(eventsv1.Category_name))
	}
	for s := outcome.StageUnknown; s <= outcome.StageQueue; s++ {
		want := "STAGE_" + strings.ToUpper(s.String())
		if s == outcome.StageUnknown {
			want = "STAGE_UNSPECIFIED"
		}
		if got := eventsv1.Stage(s).String(); got != want {
			t.Errorf("stage %s is %s in proto, want %s", s, got, want)
		}
	}
	for p, want := range map[outcome.Party]eventsv1.Party{
		outcome.Nobody: eventsv1.Party_PARTY_UNSPECIFIED, outcome.Recipient: eventsv1.Party_PARTY_RECIPIENT,
		outcome.Sender: eventsv1.Party_PARTY_SENDER, outcome.Receiver: eventsv1.Party_PARTY_RECEIVER,
	} {
		if eventsv1.Party(p) != want {
			t.Errorf("party %d is %v in proto, want %v", p, eventsv1.Party(p), want)
		}
	}
}

func TestOutcomeRoundTrip(t *testing.T) {
	t.Parallel()
	keys, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	codec := record.NewCodec(keys, topic.Names{})
	now := time.Now().UTC().Truncate(time.Microsecond)
	mail := &Mail{Key: Key{"m1", 3}, Tenant: "acme", Lane: "otp", AcceptedAt: now, envelope: &eventsv1.MailEnvelope{MailId: "m1"}}
	for kind := Attempted; kind <= Expired; kind++ {
		o := Outcome{
			Kind: kind, Sequence: 2, At: now, Site: "s", NextAt: now.Add(time.Minute), Stage: outcome.StageRcpt,
			Reply:   outcome.Reply{Code: 450, Enhanced: "4.2.0", Text: "<ana@example.org> later"},
			Verdict: outcome.Verdict{Category: outcome.Greylisted},
		}
		m, err := codec.Outcome(event(mail, o), 7)
		if err != nil {
			t.Fatal(err)
		}
		if m.Partition != 7 {
			t.Errorf("partition %d, want that of the lane record", m.Partition)
		}
		key, got, ok := Read(codec, custody.Record{Offset: 42, Key: m.Key, Value: m.Value, Headers: m.Headers})
		want := Settled{Kind: kind, Offset: 42, Sequence: 2, NextAt: now.Add(time.Minute), Site: "s", Reason: "<(address)> later"}
		if !ok || key != mail.Key || got != want {
			t.Errorf("Read of %s = %v, %+v, %v, want %+v", kind, key, got, ok, want)
		}
	}
	if _, _, ok := Read(codec, custody.Record{Key: []byte("m1"), Value: []byte("rubbish")}); ok {
		t.Error("rubbish tells something")
	}
}
