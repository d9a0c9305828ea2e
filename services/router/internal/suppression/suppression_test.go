package suppression_test

import (
	"testing"

	"kurir.dev/services/router/internal/mail"
	"kurir.dev/services/router/internal/suppression"
)

func TestStops(t *testing.T) {
	t.Parallel()
	for cause, stops := range map[suppression.Cause]map[mail.Kind]bool{
		suppression.None:        {},
		suppression.HardBounce:  {mail.KindOTP: true, mail.KindBill: true, mail.KindReminder: true, mail.KindGeneric: true},
		suppression.Complaint:   {mail.KindBill: true, mail.KindReminder: true, mail.KindGeneric: true},
		suppression.Unsubscribe: {mail.KindReminder: true, mail.KindGeneric: true},
		suppression.Manual:      {mail.KindOTP: true, mail.KindBill: true, mail.KindReminder: true, mail.KindGeneric: true},
	} {
		for _, k := range []mail.Kind{mail.KindOTP, mail.KindBill, mail.KindReminder, mail.KindGeneric} {
			if got := cause.Stops(k); got != stops[k] {
				t.Errorf("(%v).Stops(%d) = %v, want %v", cause, k, got, stops[k])
			}
		}
	}
}

func TestYields(t *testing.T) {
	t.Parallel()
	rising := [][]suppression.Cause{
		{suppression.None}, {suppression.Unsubscribe}, {suppression.Complaint}, {suppression.HardBounce, suppression.Manual},
	}
	for i, standing := range rising {
		for j, coming := range rising {
			for _, s := range standing {
				for _, c := range coming {
					if got := s.Yields(c); got != (j >= i) {
						t.Errorf("(%v).Yields(%v) = %v, want %v", s, c, got, j >= i)
					}
				}
			}
		}
	}
}
