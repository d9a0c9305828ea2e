package rpc

import (
	"buf.build/go/protovalidate"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
)

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
