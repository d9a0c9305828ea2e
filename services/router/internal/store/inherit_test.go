package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"kurir.dev/kit/dbtest"
	"kurir.dev/kit/lane"
	"kurir.dev/services/router/internal/store"
	"kurir.dev/services/router/internal/store/storetest"
)

func TestInherit(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	dbtest.Run(t, func(t *testing.T, url string) {
		t.Parallel()
		storetest.Inherit(t, !strings.HasPrefix(url, "sqlite:"), func() (storetest.Store, func()) {
			s, err := store.Open(t.Context(), url, lane.Default().Names(), nil, store.Inherit(noon, time.Minute))
			if err != nil {
				t.Fatalf("Open() = %v", err)
			}
			part := s.Part()
			if err := part.Start(t.Context()); err != nil {
				t.Fatalf("Start() = %v", err)
			}
			return s, func() {
				if err := part.Stop(context.WithoutCancel(t.Context())); err != nil {
					t.Fatalf("Stop() = %v", err)
				}
			}
		})
	})
}
