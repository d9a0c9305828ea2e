// Package deploy holds no code, only tests of what is deployed and documented,
// as far as that can be checked without a cluster: the Kubernetes manifests are
// decoded strictly against the API's types and their references followed, the
// Tiltfile is evaluated with its builtins stubbed, compose.yaml and the
// kustomizations are read with no unknown key, each service accepts its
// configuration, and the documents' links lead somewhere.
package deploy
