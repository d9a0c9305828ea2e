package custody

import (
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func TestSettling(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		err   error
		began time.Time
		want  bool
	}{
		{fmt.Errorf("joining: %w", kafka.NotCoordinatorForGroup), now, true},
		{kafka.NotLeaderForPartition, now, true},
		{kafka.NotCoordinatorForGroup, now.Add(-complainEvery), false},
		{kafka.BrokerNotAvailable, now, false},
		{kafka.TopicAuthorizationFailed, now, false},
		{errNoCommit, now, false},
	} {
		if got := settling(tt.err, tt.began); got != tt.want {
			t.Errorf("settling(%v, %v ago) = %v, want %v", tt.err, now.Sub(tt.began), got, tt.want)
		}
	}
}
