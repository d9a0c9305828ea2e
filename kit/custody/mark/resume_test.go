package mark_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kurir.dev/kit/custody/mark"
)

// bounds are those of a log.
type bounds struct{ first, last int64 }

func TestResume(t *testing.T) {
	t.Parallel()
	full := mark.Mark{Low: 50, Done: []mark.Span{{Start: 52, End: 60}, {Start: 70, End: 71}}, Journal: 40, Limit: 200, Tried: 90}
	tests := []struct {
		name    string
		offset  int64
		meta    string
		bounds  bounds
		want    mark.Mark
		problem bool
	}{
		{
			"never committed", -1, "",
			bounds{10, 100},
			mark.Mark{Low: 10, Journal: 0, Limit: 100, Tried: 10},
			false,
		},
		{
			"as committed", 50, full.Encode(), bounds{10, 300}, full, false,
		},
		{
			"nothing was handed out beyond the end", 50, full.Encode(),
			bounds{10, 100},
			mark.Mark{Low: 50, Done: full.Done, Journal: 40, Limit: 100, Tried: 90},
			false,
		},
		{
			"plain watermark needs the whole journal", 50, "",
			bounds{10, 100},
			mark.Mark{Low: 50, Journal: 0, Limit: 100, Tried: 100},
			false,
		},
		{
			"metadata of another kind", 50, "whatever",
			bounds{10, 100},
			mark.Mark{Low: 50, Journal: 0, Limit: 100, Tried: 100},
			true,
		},
		{
			"log shorter than the commit", 50, full.Encode(),
			bounds{0, 49},
			mark.Mark{Low: 0, Journal: 0, Limit: 49, Tried: 49},
			true,
		},
		{
			"log deleted above the commit", 50, full.Encode(),
			bounds{55, 300},
			mark.Mark{Low: 60, Done: full.Done[1:], Journal: 40, Limit: 200, Tried: 90},
			true,
		},
		{
			"log deleted between spans", 50, full.Encode(),
			bounds{65, 300},
			mark.Mark{Low: 65, Done: full.Done[1:], Journal: 40, Limit: 200, Tried: 90},
			true,
		},
		{
			"log cut above the commit", 50, full.Encode(),
			bounds{10, 56},
			mark.Mark{Low: 50, Done: []mark.Span{{Start: 52, End: 56}}, Journal: 40, Limit: 56, Tried: 56},
			true,
		},
		{
			"at the end", 100, "k11;0;",
			bounds{99, 100},
			mark.Mark{Low: 100, Journal: 0, Limit: 100, Tried: 100},
			false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, problem := mark.Resume(tt.offset, tt.meta, tt.bounds.first, tt.bounds.last)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" || (problem != "") != tt.problem {
				t.Errorf("Resume(%d, %q, %+v): problem %q, mark (-want +got):\n%s", tt.offset, tt.meta, tt.bounds, problem, diff)
			}
		})
	}
}
