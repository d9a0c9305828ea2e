package fault

import (
	"fmt"
	"slices"
)

// Join makes one refusal of what several checks of a request say, so that its
// sender can mend everything at once; nil errors are passed over, and Join of
// nothing is nil. An error that does not speak of the request (that is none of
// Invalid, NotFound and Denied) goes before all others and comes back as it is.
// With an Invalid one among them the whole is Invalid, of the first one's
// reason, and has the fields of all, each as it is told first. Without, the first
// error comes back.
func Join(errs ...error) error {
	var all []*Error
	for _, err := range errs {
		if err == nil {
			continue
		}
		f := From(err)
		if !slices.Contains([]Kind{Invalid, NotFound, Denied}, f.Kind) {
			return err
		}
		all = append(all, f)
	}
	lead := slices.IndexFunc(all, func(f *Error) bool { return f.Kind == Invalid })
	switch {
	case len(all) == 0:
		return nil
	case lead < 0:
		return all[0]
	case len(all) == 1:
		return all[0]
	}
	first := *all[lead]
	first.Fields = slices.Clone(first.Fields)
	for i, f := range all {
		if i == lead {
			continue
		}
		for _, field := range f.Fields {
			if field.Reason == 0 {
				field.Reason = f.Reason
			}
			if !slices.ContainsFunc(first.Fields, func(known Field) bool { return known.Name == field.Name }) {
				first.Fields = append(first.Fields, field)
			}
		}
	}
	first.Msg = Summary(first.Fields, first.Msg)
	return &first
}

// Summary is the public text about fields that are wrong: the first one, and how
// many more there are; without fields it is other.
func Summary(fields []Field, other string) string {
	if len(fields) == 0 {
		return other
	}
	text := fields[0].Name + ": " + fields[0].Description
	switch more := len(fields) - 1; more {
	case 0:
		return text
	case 1:
		return text + " (and one more field)"
	default:
		return fmt.Sprintf("%s (and %d more fields)", text, more)
	}
}
