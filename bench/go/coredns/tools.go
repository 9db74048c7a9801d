//go:build tools

package bench

import _ "github.com/coredns/coredns"
