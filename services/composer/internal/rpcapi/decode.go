package rpcapi

import (
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"kurir.dev/kit/fault"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	"kurir.dev/services/composer/internal/civil"
	"kurir.dev/services/composer/internal/money"
	"kurir.dev/services/composer/internal/submission"
)

// largeBody is the size of requests above which their buffers are not kept.
const largeBody = 256 << 10

// fingerprint is the SHA-256 of who asks for what: the tenant, the request's
// type and its deterministic encoding without the idempotency key. The caller
// must own the request.
func (s *Server) fingerprint(tenant string, req request) ([]byte, error) {
	m := req.ProtoReflect()
	key := m.Descriptor().Fields().ByName("idempotency_key")
	was := req.GetIdempotencyKey()
	m.Clear(key)
	buf, _ := s.bodies.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer func() {
		if cap(*buf) <= largeBody {
			s.bodies.Put(buf)
		}
	}()
	body, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend((*buf)[:0], req)
	m.Set(key, protoreflect.ValueOfString(was))
	if err != nil {
		return nil, fmt.Errorf("fingerprinting a request: %w", err)
	}
	*buf = body
	h := sha256.New()
	for _, s := range []string{tenant, string(m.Descriptor().FullName())} {
		_, _ = h.Write([]byte(s)) // a hash does not fail
		_, _ = h.Write([]byte{0})
	}
	_, _ = h.Write(body)
	return h.Sum(nil), nil
}

// decodeItem returns the request of one item of a batch and what it sends; nil
// when it holds none.
func decodeItem(req *mailv1.SendBatchRequest) (request, submission.Item) {
	switch item := req.GetItem().(type) {
	case *mailv1.SendBatchRequest_Otp:
		return item.Otp, decodeOTP(item.Otp)
	case *mailv1.SendBatchRequest_Bill:
		return item.Bill, decodeBill(item.Bill)
	case *mailv1.SendBatchRequest_Reminder:
		return item.Reminder, decodeReminder(item.Reminder)
	case *mailv1.SendBatchRequest_Mail:
		return item.Mail, decodeGeneric(item.Mail)
	}
	return nil, nil
}

func decodeOTP(r request) submission.Item {
	req, _ := r.(*mailv1.SendOtpRequest)
	return &submission.OTP{
		Code: req.GetCode(), ProductName: req.GetProductName(), Origin: req.GetOrigin(),
		Purpose: req.GetPurpose(), ClientIP: req.GetClientIp(),
	}
}

func decodeBill(r request) submission.Item {
	req, _ := r.(*mailv1.SendBillRequest)
	bill := decodeInvoice(req.GetBill())
	return &bill
}

func decodeReminder(r request) submission.Item {
	req, _ := r.(*mailv1.SendReminderRequest)
	return &submission.Reminder{
		Bill: decodeInvoice(req.GetBill()), Step: req.GetStep(), DaysUntilDue: int(req.GetDaysUntilDue()),
	}
}

func decodeGeneric(r request) submission.Item {
	req, _ := r.(*mailv1.SendRequest)
	out := &submission.Generic{Variables: req.GetVariables()}
	if c := req.GetContent(); c != nil {
		out.Content = &submission.Content{Subject: c.GetSubject(), Text: c.GetText(), HTML: c.GetHtml()}
	}
	return out
}

func decodeInvoice(b *mailv1.Bill) submission.Bill {
	out := submission.Bill{
		InvoiceID: b.GetInvoiceId(), Number: b.GetNumber(), BillerName: b.GetBillerName(), CustomerName: b.GetCustomerName(),
		Period: b.GetPeriod(), IssuedOn: decodeDate(b.GetIssuedOn()), DueOn: decodeDate(b.GetDueOn()),
		Tax: decodeMoney(b.GetTax()), Total: decodeMoney(b.GetTotal()), PayURL: b.GetPayUrl(),
	}
	for _, item := range b.GetLineItems() {
		out.Items = append(out.Items, submission.LineItem{
			Description: item.GetDescription(), Quantity: item.GetQuantity(),
			UnitPrice: decodeMoney(item.GetUnitPrice()), Amount: decodeMoney(item.GetAmount()),
		})
	}
	return out
}

// decodeOptions checks what the domain's types cannot hold.
func decodeOptions(o *mailv1.Options) (submission.Options, error) {
	out := submission.Options{
		Locale: o.GetLocale(), From: decodeAddress(o.GetFrom()), ReplyTo: decodeAddress(o.GetReplyTo()),
		Template: o.GetTemplate(), Lane: o.GetLane(), Campaign: o.GetCampaign(), Labels: o.GetLabels(),
	}
	if at := o.GetSendAt(); at != nil {
		if err := at.CheckValid(); err != nil {
			return out, fault.Invalidf(faultv1.Reason_REASON_INVALID_FIELD, "options.send_at", "is no point in time")
		}
		out.SendAt = at.AsTime()
	}
	if d := o.GetExpiresIn(); d != nil {
		if err := d.CheckValid(); err != nil {
			return out, fault.Invalidf(faultv1.Reason_REASON_EXPIRY_OUT_OF_RANGE, "options.expires_in", "is no duration")
		}
		span := d.AsDuration()
		out.ExpiresIn = &span
	}
	return out, nil
}

// decodeAddress returns nil for none.
func decodeAddress(a *mailv1.Address) *submission.Address {
	if a == nil {
		return nil
	}
	return &submission.Address{Email: a.GetEmail(), Name: a.GetDisplayName()}
}

func decodeMoney(m *mailv1.Money) money.Amount {
	return money.Amount{Currency: m.GetCurrencyCode(), Units: m.GetUnits(), Nanos: m.GetNanos()}
}

func decodeDate(d *mailv1.Date) civil.Date {
	return civil.Date{Year: int(d.GetYear()), Month: int(d.GetMonth()), Day: int(d.GetDay())}
}
