module kurir.dev/tools/jaeger

go 1.26
