package rpc

import (
	"errors"

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

// invalid turns broken constraints into a fault. The text is that of the first
// one; all are named as fields. A rule whose id is the name of a reason gives the
// fault that reason.
func invalid(broken *protovalidate.ValidationError) *fault.Error {
	f := &fault.Error{Kind: fault.Invalid, Reason: faultv1.Reason_REASON_INVALID_FIELD}
	for i, v := range broken.Violations {
		name := protovalidate.FieldPathString(v.Proto.GetField())
		if name == "" {
			name = "request"
		}
		desc := v.Proto.GetMessage()
		if desc == "" {
			desc = "breaks the rule " + v.Proto.GetRuleId()
		}
		if i == 0 {
			f.Msg = name + ": " + desc
			if r, ok := faultv1.Reason_value[v.Proto.GetRuleId()]; ok {
				f.Reason = faultv1.Reason(r)
			}
		}
		f.Fields = append(f.Fields, fault.Field{Name: name, Description: desc})
	}
	return f
}
