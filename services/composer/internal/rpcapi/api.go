// Package rpcapi speaks gRPC for the composer: it serves MailService and calls
// RouterService, and is the only package that knows their messages. A handler
// decodes, calls the domain, encodes.
package rpcapi

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	"kurir.dev/kit/telemetry"
	mailv1 "kurir.dev/proto/gen/kurir/mail/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer/internal/submission"
)

// Domain is the domain of the errors told.
const Domain = "composer.kurir"

// Server is MailService.
type Server struct {
	mailv1.UnimplementedMailServiceServer
	composer *submission.Composer
	router   routerv1.RouterServiceClient
	inFlight int
	log      *slog.Logger
	metrics  *metrics
	bodies   sync.Pool // of *[]byte, for fingerprints
}

var _ mailv1.MailServiceServer = (*Server)(nil)

// New returns a MailService that hands its mail to router, and works on at most
// inFlight mails of one batch at a time.
func New(ctx context.Context, c *submission.Composer, router routerv1.RouterServiceClient, inFlight int, t *telemetry.Telemetry) (*Server, error) {
	m, err := newMetrics(ctx, t.Meter("kurir.dev/services/composer"))
	if err != nil {
		return nil, fmt.Errorf("making the metrics: %w", err)
	}
	return &Server{composer: c, router: router, inFlight: inFlight, log: t.Log, metrics: m}, nil
}

// SendOtp sends a one-time password.
func (s *Server) SendOtp(ctx context.Context, req *mailv1.SendOtpRequest) (*mailv1.SendOtpResponse, error) {
	receipt, err := s.unary(ctx, req, decodeOTP)
	if err != nil {
		return nil, err
	}
	return &mailv1.SendOtpResponse{Receipt: receipt}, nil
}

// SendBill sends an e-bill.
func (s *Server) SendBill(ctx context.Context, req *mailv1.SendBillRequest) (*mailv1.SendBillResponse, error) {
	receipt, err := s.unary(ctx, req, decodeBill)
	if err != nil {
		return nil, err
	}
	return &mailv1.SendBillResponse{Receipt: receipt}, nil
}

// SendReminder sends a reminder.
func (s *Server) SendReminder(ctx context.Context, req *mailv1.SendReminderRequest) (*mailv1.SendReminderResponse, error) {
	receipt, err := s.unary(ctx, req, decodeReminder)
	if err != nil {
		return nil, err
	}
	return &mailv1.SendReminderResponse{Receipt: receipt}, nil
}

// Send sends any other mail.
func (s *Server) Send(ctx context.Context, req *mailv1.SendRequest) (*mailv1.SendResponse, error) {
	receipt, err := s.unary(ctx, req, decodeGeneric)
	if err != nil {
		return nil, err
	}
	return &mailv1.SendResponse{Receipt: receipt}, nil
}

// PreviewTemplate renders without sending.
func (s *Server) PreviewTemplate(ctx context.Context, req *mailv1.PreviewTemplateRequest) (*mailv1.PreviewTemplateResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeSend); err != nil {
		return nil, err
	}
	variables := req.GetVariables()
	if len(variables) == 0 {
		variables = nil // the wire cannot tell an empty map from none
	}
	tmpl, rendered, err := s.composer.Preview(rpc.Tenant(ctx), req.GetTemplate(), req.GetLocale(), variables)
	if err != nil {
		return nil, err
	}
	return &mailv1.PreviewTemplateResponse{
		Subject: rendered.Subject, Text: rendered.Text, Html: rendered.HTML, Version: tmpl.Version, Locale: rendered.Locale,
	}, nil
}

// ListTemplates lists what can be sent.
func (s *Server) ListTemplates(ctx context.Context, _ *mailv1.ListTemplatesRequest) (*mailv1.ListTemplatesResponse, error) {
	if err := rpc.Require(ctx, rpc.ScopeSend); err != nil {
		return nil, err
	}
	templates, err := s.composer.Templates(rpc.Tenant(ctx))
	if err != nil {
		return nil, err
	}
	out := &mailv1.ListTemplatesResponse{Templates: make([]*mailv1.Template, len(templates))}
	for i, t := range templates {
		out.Templates[i] = encodeTemplate(t)
	}
	return out, nil
}

// request is a message that asks for one mail.
type request interface {
	proto.Message
	GetIdempotencyKey() string
	GetTo() *mailv1.Address
	GetOptions() *mailv1.Options
}

// unary sends the mail of one call.
func (s *Server) unary(ctx context.Context, req request, decode func(request) submission.Item) (*mailv1.Receipt, error) {
	if err := rpc.Require(ctx, rpc.ScopeSend); err != nil {
		return nil, err
	}
	receipt, err := s.send(ctx, router{s.router}, req, decode(req))
	if err == nil {
		trace.SpanFromContext(ctx).SetAttributes(
			attribute.String("kurir.mail_id", receipt.GetMailId()), attribute.String("kurir.lane", receipt.GetLane()))
	}
	return receipt, err
}

// send decodes a request, hands it to the domain and encodes the receipt.
func (s *Server) send(ctx context.Context, to submission.Custodian, req request, item submission.Item) (*mailv1.Receipt, error) {
	tenant := rpc.Tenant(ctx)
	out, err := s.accept(ctx, to, tenant, req, item)
	s.metrics.count(ctx, item, out.Replayed, err)
	if err != nil {
		return nil, err
	}
	return encodeReceipt(out), nil
}

// accept is send in the domain's terms.
func (s *Server) accept(
	ctx context.Context, to submission.Custodian, tenant string, req request, item submission.Item,
) (submission.Receipt, error) {
	r, bad := decode(tenant, req, item)
	if bad != nil {
		return submission.Receipt{}, fault.Join(s.composer.Check(r), bad) // the domain knows better what mends it
	}
	var err error
	if r.Fingerprint, err = s.fingerprint(tenant, req); err != nil {
		return submission.Receipt{}, err
	}
	return s.composer.Send(ctx, to, r)
}

// decode says what a request asks for, and what is wrong with it by its proto
// alone. It is told with what the domain finds wrong: the calls validate for
// themselves.
func decode(tenant string, req request, item submission.Item) (*submission.Request, error) {
	options, bad := decodeOptions(req.GetOptions())
	return &submission.Request{
		Tenant: tenant, Key: req.GetIdempotencyKey(), To: decodeAddress(req.GetTo()), Options: options, Item: item,
	}, fault.Join(rpc.Validate(req), bad)
}

// OwnItems are the methods that validate what they get themselves.
func OwnItems() []string {
	return []string{
		mailv1.MailService_SendOtp_FullMethodName, mailv1.MailService_SendBill_FullMethodName,
		mailv1.MailService_SendReminder_FullMethodName, mailv1.MailService_Send_FullMethodName,
	}
}
