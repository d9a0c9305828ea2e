// Package composer is being laid out; its dependencies stand here until its code does.
package composer

import (
	_ "github.com/emersion/go-message"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/google/uuid"
	_ "github.com/k3a/html2text"
	_ "github.com/preslavrachev/gomjml/mjml"
	_ "github.com/vanng822/go-premailer/premailer"
	_ "go.opentelemetry.io/otel"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/text/currency"
	_ "golang.org/x/text/language"
	_ "golang.org/x/text/message"
	_ "google.golang.org/grpc"
	_ "google.golang.org/protobuf/proto"
)
