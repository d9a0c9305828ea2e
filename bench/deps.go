package bench
import (
_ "google.golang.org/grpc"
)
