package route

import (
	"encoding/json"
	"fmt"
	"strings"

	"understudy/route/reserve"
)

// Bounds of a retried call. gRPC itself allows no more than 5 attempts, keeps
// at most 256 KiB of a request for them (grpc.MaxRetryRPCBufferSize), and ends
// with the call's deadline.
const (
	retryAttempts   = 4
	retryFirst      = "0.001s"
	retryMost       = "0.1s"
	retryMultiplier = 4
)

// RetryPolicy is a service config in JSON, for grpc.WithDefaultServiceConfig,
// that has gRPC repeat calls of the methods given when they end with
// UNAVAILABLE, as they do when their worker dies: at most three times, after
// about 1, 4 and 16 ms. A method is "package.Service/Method", or
// "package.Service" for all of its methods. Name only what is idempotent: the
// worker may have done the work before it died. Streams are repeated as long
// as the client has received nothing. A client has one service config, so this
// one also asks for the load balancing policy of NewClient's clients.
func RetryPolicy(methods ...string) (string, error) {
	type name struct {
		Service string `json:"service"`
		Method  string `json:"method,omitempty"`
	}
	type policy struct {
		MaxAttempts          int      `json:"maxAttempts"`
		InitialBackoff       string   `json:"initialBackoff"`
		MaxBackoff           string   `json:"maxBackoff"`
		BackoffMultiplier    float64  `json:"backoffMultiplier"`
		RetryableStatusCodes []string `json:"retryableStatusCodes"`
	}
	type methodConfig struct {
		Name        []name `json:"name"`
		RetryPolicy policy `json:"retryPolicy"`
	}
	type serviceConfig struct {
		LoadBalancingConfig []map[string]struct{} `json:"loadBalancingConfig"`
		MethodConfig        []methodConfig        `json:"methodConfig,omitempty"`
	}
	config := serviceConfig{LoadBalancingConfig: []map[string]struct{}{{reserve.Policy: {}}}}
	if len(methods) > 0 {
		config.MethodConfig = []methodConfig{{RetryPolicy: policy{
			MaxAttempts:          retryAttempts,
			InitialBackoff:       retryFirst,
			MaxBackoff:           retryMost,
			BackoffMultiplier:    retryMultiplier,
			RetryableStatusCodes: []string{"UNAVAILABLE"},
		}}}
	}
	for _, m := range methods {
		service, method, one := strings.Cut(strings.TrimPrefix(m, "/"), "/")
		if service == "" || one && method == "" || strings.Contains(method, "/") {
			return "", fmt.Errorf("route: %q is neither package.Service/Method nor package.Service", m)
		}
		names := &config.MethodConfig[0].Name
		*names = append(*names, name{Service: service, Method: method})
	}
	text, err := json.Marshal(config)
	return string(text), err
}
