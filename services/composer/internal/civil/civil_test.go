package civil_test

import (
	"testing"

	"kurir.dev/services/composer/internal/civil"
)

func TestValid(t *testing.T) {
	t.Parallel()
	for d, want := range map[civil.Date]bool{
		{2026, 11, 21}: true, {2024, 2, 29}: true, {2026, 2, 29}: false, {2026, 2, 30}: false,
		{2026, 13, 1}: false, {0, 1, 1}: false, {2026, 4, 31}: false, {}: false,
	} {
		if got := d.Valid(); got != want {
			t.Errorf("%v.Valid() = %v, want %v", d, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := civil.Parse("2026-11-21")
	if want := (civil.Date{Year: 2026, Month: 11, Day: 21}); err != nil || got != want {
		t.Errorf("Parse = %v, %v, want %v", got, err, want)
	}
	for _, s := range []string{"", "21-11-2026", "2026-02-30", "0000-01-01"} {
		if got, err := civil.Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", s, got)
		}
	}
}
