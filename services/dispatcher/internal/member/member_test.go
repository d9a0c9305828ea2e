package member_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	"kurir.dev/services/dispatcher/internal/member"
)

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		answers := []int{0, 1, 1, 2, -1, 2, 0, 1}
		var told []int
		err := member.Watch(ctx, slog.New(slog.DiscardHandler), func(context.Context) (int, error) {
			n := answers[0]
			if answers = answers[1:]; len(answers) == 0 {
				cancel()
			}
			if n < 0 {
				return 0, errors.New("the broker is away")
			}
			return n, nil
		}, func(n int) { told = append(told, n) })
		if !errors.Is(err, context.Canceled) || !slices.Equal(told, []int{1, 2, 1}) {
			t.Errorf("Watch = %v and told %v, want each change once", err, told)
		}
	})
}
