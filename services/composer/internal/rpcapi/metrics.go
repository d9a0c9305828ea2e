package rpcapi

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	"kurir.dev/services/composer/internal/submission"
)

// metrics count what was asked for.
type metrics struct{ mails metric.Int64Counter }

// newMetrics makes the counters, each at zero.
func newMetrics(ctx context.Context, m metric.Meter) (*metrics, error) {
	mails, err := m.Int64Counter("kurir_composer_mails",
		metric.WithDescription("Mails asked for, by call and result: accepted, replayed, or the reason of the refusal."))
	if err != nil {
		return nil, err
	}
	for _, call := range []string{"otp", "bill", "reminder", "generic"} {
		for _, result := range []string{"accepted", "replayed"} {
			mails.Add(ctx, 0, labels(call, result))
		}
	}
	return &metrics{mails: mails}, nil
}

// count counts one mail.
func (m *metrics) count(ctx context.Context, item submission.Item, replayed bool, err error) {
	result := "accepted"
	switch {
	case err != nil:
		result = reason(err)
	case replayed:
		result = "replayed"
	}
	m.mails.Add(ctx, 1, labels(call(item), result))
}

// labels are those of the counter.
func labels(call, result string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("call", call), attribute.String("result", result))
}

// reason is the label of a refusal.
func reason(err error) string {
	var f *fault.Error
	switch {
	case errors.As(err, &f) && f.Reason != faultv1.Reason_REASON_UNSPECIFIED:
		return strings.ToLower(strings.TrimPrefix(f.Reason.String(), "REASON_"))
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline_exceeded"
	}
	return "internal"
}

// call is the label of an item.
func call(item submission.Item) string {
	switch item.(type) {
	case *submission.OTP:
		return "otp"
	case *submission.Bill:
		return "bill"
	case *submission.Reminder:
		return "reminder"
	}
	return "generic"
}
