//go:build tools

package bench

import _ "sigs.k8s.io/kustomize/kustomize/v5"
