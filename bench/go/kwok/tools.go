//go:build tools

package bench

import _ "sigs.k8s.io/kwok/cmd/kwok"
