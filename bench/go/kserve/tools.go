//go:build tools

package bench

import _ "github.com/kserve/kserve/cmd/manager"
