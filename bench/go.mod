module kurir.dev/bench

go 1.26.0

require google.golang.org/grpc v1.85.0

require (
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	kurir.dev/cmd/kurir => ../cmd/kurir
	kurir.dev/kit => ../kit
	kurir.dev/proto => ../proto
	kurir.dev/services/composer => ../services/composer
	kurir.dev/services/dispatcher => ../services/dispatcher
	kurir.dev/services/router => ../services/router
	kurir.dev/services/tracker => ../services/tracker
)
