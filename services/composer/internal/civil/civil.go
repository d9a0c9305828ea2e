// Package civil holds days of the calendar, without a clock or a zone.
package civil

import (
	"errors"
	"time"
)

// ErrSyntax says that a text is no day of the calendar; see [Parse].
var ErrSyntax = errors.New("a date is year-month-day, such as \"2026-11-21\"")

// Date is a day. The zero value is no day.
type Date struct {
	// Year is 1 to 9999.
	Year int
	// Month is 1 to 12.
	Month int
	// Day is 1 to 31.
	Day int
}

// Zero reports whether d is no day.
func (d Date) Zero() bool { return d == Date{} }

// Valid reports whether d is in the Gregorian calendar: 30 February is not.
func (d Date) Valid() bool {
	if d.Year < 1 || d.Year > 9999 || d.Month < 1 || d.Month > 12 || d.Day < 1 || d.Day > 31 {
		return false
	}
	t := time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC)
	return t.Day() == d.Day
}

// Parse reads "2026-11-21" and returns [ErrSyntax] for anything else.
func Parse(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return Date{}, ErrSyntax
	}
	return Date{Year: t.Year(), Month: int(t.Month()), Day: t.Day()}, nil
}
