package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/topic"
	"kurir.dev/services/router/internal/admission"
	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/waiting"
)

// BenchmarkUrgent is one urgent admission after the other on SQLite, alone and
// beside a flood: submissions, deferrals of 10 KB, claims of them, and verbs
// over thousands of rows. Compare the two within one run.
func BenchmarkUrgent(b *testing.B) {
	for _, flood := range []bool{false, true} {
		b.Run(fmt.Sprintf("flood=%v", flood), func(b *testing.B) {
			s := open(b, dbtest.SQLite(b))
			stop := make(chan struct{})
			var others sync.WaitGroup
			loop := func(n int, work func(i int) error) {
				for w := range n {
					others.Go(func() {
						for i := w; ; i += n {
							select {
							case <-stop:
								return
							default:
							}
							if err := work(i); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
			}
			now := time.Now()
			if flood {
				loop(32, func(i int) error { _, err := s.Admit(b.Context(), keyed(fmt.Sprintf("bulk-%d", i), now)); return err })
				loop(32, func(i int) error {
					return s.Put(b.Context(), waiting.Mail{
						ID: fmt.Sprintf("m%d", i), Tenant: "acme", Lane: "bulk", Attempt: 2, State: waiting.Deferred, DueAt: now,
						ExpiresAt: now.Add(time.Hour), Envelope: make([]byte, 10<<10),
					})
				})
				loop(1, func(int) error {
					mails, err := s.Claim(b.Context(), "bulk", time.Now(), time.Now().Add(time.Hour), 128, func(waiting.Mail) topic.Band { return topic.Ordinary })
					refs := make([]waiting.Ref, len(mails))
					for i, m := range mails {
						refs[i] = m.Ref()
					}
					if err == nil {
						err = s.Finish(b.Context(), refs, now)
					}
					return err
				})
				loop(1, func(int) error {
					_, err := s.Hold(b.Context(), waiting.Scope{Lane: "billing"}, "", time.Time{}, now)
					return err
				})
			}
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			for i := range took {
				e := keyed(fmt.Sprintf("otp-%d", i), now)
				e.Urgent = true
				begun := time.Now()
				if _, err := s.Admit(b.Context(), e); err != nil {
					b.Fatal(err)
				}
				took[i] = time.Since(begun)
			}
			b.StopTimer()
			close(stop)
			others.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// keyed is an admission under a key of its own.
func keyed(id string, now time.Time) admission.Entry {
	return admission.Entry{
		Key: admission.Key{Tenant: "bench", Value: id}, Fingerprint: "12345678901234567890123456789012",
		Recipient: mail.KeyOf("bench", id), Kind: mail.KindOTP,
		Receipt: admission.Receipt{MailID: id, Lane: "otp", AcceptedAt: now, ExpiresAt: now.Add(time.Minute)},
	}
}
