package main
import (
_ "github.com/alecthomas/kong"
_ "google.golang.org/grpc"
)
func main(){}
