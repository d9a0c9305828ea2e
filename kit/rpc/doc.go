// Package rpc builds the gRPC servers and clients of the project, all alike.
//
// What a call meets on its way into a handler, in this order, which a test pins:
//
//  1. recovery: a panic becomes an internal error, is logged with its stack and
//     counted; the process lives on
//  2. telemetry: one span and the metrics of OpenTelemetry, health checks left out
//  3. auth: the peer's certificate is on the allow-list, the API key is known
//  4. deadline: 20 ms of the caller's time are kept back for the way home; a call
//     that has under 100 ms left is refused before it costs anything
//  5. faults: what the handler returns becomes a status with error details; an
//     internal error is logged, once, with the trace id the caller is told
//  6. validation: the request keeps the constraints written in its proto
//
// A client undoes step 5: its callers see the *fault.Error that the handler
// returned, with kind, reason, text, fields, metadata and retry time.
//
// Health (grpc.health.v1) and reflection are always on and need no credentials.
package rpc
