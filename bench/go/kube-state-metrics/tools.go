//go:build tools

package bench

import _ "k8s.io/kube-state-metrics/v2"
