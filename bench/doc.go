// Package bench measures whole meshes: what a mail costs from the gRPC call to
// the receiving server's 250, and what a flood does to an OTP. Run it with
//
//	go test kurir.dev/bench -run='^$' -bench=. -benchtime=1x
//
// Figures are ratios within one run wherever machines differ.
package bench
