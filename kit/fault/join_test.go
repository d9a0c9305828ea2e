package fault_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	const field, recipient = faultv1.Reason_REASON_INVALID_FIELD, faultv1.Reason_REASON_INVALID_RECIPIENT
	to := fault.Invalidf(recipient, "to.email", "must be an address")
	code := fault.Invalidf(field, "code", "must be digits")
	again := fault.Invalidf(field, "code", "has a form")
	lane := fault.Invalidf(field, "options.lane", "must be one")
	unknown := fault.Newf(fault.NotFound, faultv1.Reason_REASON_TEMPLATE_UNKNOWN, "no such template").WithField("options.template", "is not known")
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		errs   []error
		kind   fault.Kind
		reason faultv1.Reason
		msg    string
		fields []fault.Field
	}{
		{"one", []error{nil, to, nil}, fault.Invalid, recipient, "to.email: must be an address", to.Fields},
		{"two", []error{to, code}, fault.Invalid, recipient, "to.email: must be an address (and one more field)", []fault.Field{
			{Name: "to.email", Description: "must be an address"}, {Name: "code", Description: "must be digits", Reason: field},
		}},
		{"twice the same", []error{code, again}, fault.Invalid, field, "code: must be digits", code.Fields},
		{"joined before", []error{fault.Join(to, code), lane}, fault.Invalid, recipient, "to.email: must be an address (and 2 more fields)", []fault.Field{
			{Name: "to.email", Description: "must be an address"},
			{Name: "code", Description: "must be digits", Reason: field},
			{Name: "options.lane", Description: "must be one", Reason: field},
		}},
		{"another kind", []error{unknown, code}, fault.Invalid, field, "code: must be digits (and one more field)", []fault.Field{
			{Name: "code", Description: "must be digits"},
			{Name: "options.template", Description: "is not known", Reason: faultv1.Reason_REASON_TEMPLATE_UNKNOWN},
		}},
		{"another kind alone", []error{unknown}, fault.NotFound, faultv1.Reason_REASON_TEMPLATE_UNKNOWN, "no such template", unknown.Fields},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fault.From(fault.Join(tt.errs...))
			if f.Kind != tt.kind || f.Reason != tt.reason || f.Msg != tt.msg {
				t.Errorf("Join() = %v %v %q, want %v %v %q", f.Kind, f.Reason, f.Msg, tt.kind, tt.reason, tt.msg)
			}
			if diff := cmp.Diff(tt.fields, f.Fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
	if err := fault.Join(nil, nil); err != nil {
		t.Errorf("Join() of nothing = %v", err)
	}
	if err := fault.Join(to, broken, code); !errors.Is(err, broken) {
		t.Errorf("Join() with an error that is no refusal = %v, want it", err)
	}
	if len(to.Fields) != 1 || to.Fields[0].Reason != 0 {
		t.Errorf("Join() changed what it was given: %v", to.Fields)
	}
}
