package telemetry_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kurir.dev/kit/telemetry"
)

func TestLogStaysCalm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tel, log := newTelemetry(t, telemetry.Default())
		lost := errors.New("connection refused")
		storm := func() {
			for range 100 {
				tel.Log.With(slog.Int("partition", 3)).WarnContext(t.Context(), "broker is away", slog.Any("error", lost))
				tel.Log.InfoContext(t.Context(), "delivery attempt", slog.Duration("took", 1500*time.Microsecond))
			}
			tel.Log.WarnContext(t.Context(), "something else")
		}
		storm()
		<-time.After(time.Minute) // of the bubble
		storm()

		count, suppressed := map[string]int{}, []float64{}
		for dec := json.NewDecoder(strings.NewReader(log.String())); ; {
			var line map[string]any
			err := dec.Decode(&line)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("log: %v", err)
			}
			count[line["msg"].(string)]++
			if n, ok := line["suppressed"].(float64); ok {
				suppressed = append(suppressed, n)
			}
			if took, ok := line["took"]; ok && took != "1.5ms" {
				t.Fatalf("took = %v, want 1.5ms", took)
			}
		}
		if count["broker is away"] != 20 || count["delivery attempt"] != 200 || count["something else"] != 2 {
			t.Errorf("log holds %v, want 10 warnings of either storm, all attempts, and what else there was", count)
		}
		if len(suppressed) != 1 || suppressed[0] != 90 {
			t.Errorf("suppressed = %v, want the first storm's 90", suppressed)
		}
	})
}
