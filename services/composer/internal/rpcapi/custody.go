package rpcapi

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"kurir.dev/kit/fault"
	"kurir.dev/kit/rpc"
	faultv1 "kurir.dev/proto/gen/kurir/fault/v1"
	routerv1 "kurir.dev/proto/gen/kurir/router/v1"
	"kurir.dev/services/composer/internal/submission"
)

// router submits each mail with a call of its own.
type router struct{ client routerv1.RouterServiceClient }

// Submit hands one mail to the router, within the deadline of ctx.
func (r router) Submit(ctx context.Context, s *submission.Submission) (submission.Receipt, error) {
	resp, err := r.client.Submit(ctx, &routerv1.SubmitRequest{Submission: encodeSubmission(s)})
	if err != nil {
		return submission.Receipt{}, asFault(err)
	}
	return decodeReceipt(resp.GetReceipt()), nil
}

// routerStream submits the mails of one batch over one stream, which it opens
// with the first and again after it broke. A mail whose answer was lost with
// the stream fails as unavailable: its caller sends it again, and the
// idempotency key keeps it one mail.
type routerStream struct {
	open func() (grpc.BidiStreamingClient[routerv1.SubmitStreamRequest, routerv1.SubmitStreamResponse], error)

	sending sync.Mutex // one Send at a time; may block on flow control
	mu      sync.Mutex // never held while sending or receiving
	now     *lap
	readers sync.WaitGroup
}

// lap is the life of one stream.
type lap struct {
	stream  grpc.BidiStreamingClient[routerv1.SubmitStreamRequest, routerv1.SubmitStreamResponse]
	waiting map[string]chan answer // nil once it broke
	last    uint64
}

// answer is the router's to one mail.
type answer struct {
	receipt submission.Receipt
	err     error
}

// newRouterStream returns a custodian whose streams live as long as ctx.
func newRouterStream(ctx context.Context, client routerv1.RouterServiceClient) *routerStream {
	return &routerStream{open: func() (grpc.BidiStreamingClient[routerv1.SubmitStreamRequest, routerv1.SubmitStreamResponse], error) {
		return client.SubmitStream(ctx)
	}}
}

// Submit hands one mail to the router and waits for its answer. Any number of
// goroutines may call it.
func (r *routerStream) Submit(ctx context.Context, s *submission.Submission) (submission.Receipt, error) {
	reply, err := r.send(encodeSubmission(s))
	if err != nil {
		return submission.Receipt{}, err
	}
	select {
	case a := <-reply:
		return a.receipt, a.err
	case <-ctx.Done():
		return submission.Receipt{}, ctx.Err()
	}
}

// send writes one mail to the stream and returns where its answer will come.
func (r *routerStream) send(s *routerv1.Submission) (<-chan answer, error) {
	r.sending.Lock()
	defer r.sending.Unlock()
	l, reference, reply, err := r.register()
	if err != nil {
		return nil, err
	}
	// When this fails the stream is broken, and its reader tells why.
	_ = l.stream.Send(&routerv1.SubmitStreamRequest{Reference: reference, Submission: s})
	return reply, nil
}

// register prepares for an answer, opening a stream if there is none.
func (r *routerStream) register() (*lap, string, <-chan answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now == nil {
		stream, err := r.open()
		if err != nil {
			return nil, "", nil, asFault(err)
		}
		l := &lap{stream: stream, waiting: map[string]chan answer{}}
		r.now = l
		r.readers.Go(func() { r.read(l) })
	}
	l := r.now
	l.last++
	reference := strconv.FormatUint(l.last, 10)
	reply := make(chan answer, 1)
	l.waiting[reference] = reply
	return l, reference, reply, nil
}

// read hands out answers until the stream ends, which ends all who still wait.
func (r *routerStream) read(l *lap) {
	for {
		resp, err := l.stream.Recv()
		if err != nil {
			r.end(l, broken(err))
			return
		}
		a := answer{receipt: decodeReceipt(resp.GetReceipt())}
		if refusal := resp.GetError(); refusal != nil {
			a = answer{err: rpc.FromStatus(status.FromProto(refusal))}
		}
		r.mu.Lock()
		reply := l.waiting[resp.GetReference()]
		delete(l.waiting, resp.GetReference())
		r.mu.Unlock()
		if reply != nil {
			reply <- a // has room, and is answered once
		}
	}
}

// end gives up a broken stream.
func (r *routerStream) end(l *lap, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reply := range l.waiting {
		reply <- answer{err: err}
	}
	l.waiting = nil
	if r.now == l {
		r.now = nil
	}
}

// close ends the stream once nobody submits any more, and waits for its reader.
func (r *routerStream) close() {
	r.mu.Lock()
	l := r.now
	r.mu.Unlock()
	if l != nil {
		_ = l.stream.CloseSend() // a broken one is closed already
	}
	r.readers.Wait()
}

// broken is what a mail fails with whose stream ended before its answer.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return fault.Newf(fault.Unavailable, faultv1.Reason_REASON_NOT_READY, "the router ended the stream").WithRetry(time.Second)
	}
	return asFault(err)
}

// asFault maps a status into the fault it tells of. A connection of kit/rpc has
// done so already.
func asFault(err error) error {
	var f *fault.Error
	if errors.As(err, &f) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return rpc.FromStatus(status.Convert(err))
}
