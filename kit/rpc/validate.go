package rpc

import (
	"errors"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

// Validate returns nil if m keeps the constraints of its proto or is no proto
// message, else an Invalid fault that names each field that breaks one. Servers
// call it for every request; only handlers of ServerDeps.OwnItems need to.
func Validate(m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	err := protovalidate.Validate(msg)
	if broken, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		return invalid(broken)
	}
	return err // nil, or a constraint that is wrong in itself
}

// invalid turns broken constraints into a fault with all of them as fields. A
// rule whose id is the name of a reason has that reason.
func invalid(broken *protovalidate.ValidationError) *fault.Error {
	f := &fault.Error{Kind: fault.Invalid, Reason: faultv1.Reason_REASON_INVALID_FIELD}
	for i, v := range broken.Violations {
		name := protovalidate.FieldPathString(v.Proto.GetField())
		if name == "" {
			name = "request"
		}
		field := fault.Field{Name: name, Description: describe(v)}
		if r, ok := faultv1.Reason_value[v.Proto.GetRuleId()]; ok {
			field.Reason = faultv1.Reason(r)
		}
		if i == 0 && field.Reason != 0 {
			f.Reason = field.Reason
		}
		if field.Reason == 0 && f.Reason != faultv1.Reason_REASON_INVALID_FIELD {
			field.Reason = faultv1.Reason_REASON_INVALID_FIELD
		}
		if field.Reason == f.Reason {
			field.Reason = 0
		}
		f.Fields = append(f.Fields, field)
	}
	f.Msg = fault.Summary(f.Fields, "")
	return f
}

// describe says how to mend a broken constraint, without a regular expression.
func describe(v *protovalidate.Violation) string {
	switch rule := v.Proto.GetRuleId(); rule {
	case "required", "message.oneof.required":
		return "must be given"
	case "string.min_len", "bytes.min_len", "repeated.min_items":
		if v.RuleValue.IsValid() && v.RuleValue.Uint() == 1 {
			return "must not be empty"
		}
	case "string.pattern":
		return "must have the form that the documentation of the field describes"
	case "string.uuid", "string.uuid_empty":
		return "must be a UUID, as the calls that return it give it"
	}
	desc := v.Proto.GetMessage()
	if desc == "" {
		return "breaks the rule " + v.Proto.GetRuleId()
	}
	if rest, ok := strings.CutPrefix(desc, "value "); ok {
		return rest // "must be ...", "length must be ..."
	}
	return desc
}
